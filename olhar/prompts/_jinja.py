"""The jinja2 twin of ``_form.render``; ``_form.chat_template`` sets the names in capitals before it."""

TEMPLATE = r"""
{%- macro words(content) -%}
  {%- if content is string -%}{{- content -}}
  {%- else -%}
    {%- for part in content -%}{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}{%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- macro medium(part) -%}
  {%- if part['type'] == 'image' -%}{{- IMAGE -}}
  {%- elif part['type'] == 'video' and VIDEO is not none -%}{{- VIDEO -}}
  {%- else -%}{{- raise_exception('this model takes no part of type ' ~ part['type']) -}}
  {%- endif -%}
{%- endmacro -%}
{%- macro media(content, after) -%}
  {%- if content is not string -%}
    {%- for part in content -%}{%- if part['type'] != 'text' -%}{{- medium(part) ~ after -}}{%- endif -%}{%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- macro question(content, before) -%}
  {%- set seen = namespace(media=0, text=false, leading=true) -%}
  {%- if content is not string -%}
    {%- for part in content -%}
      {%- if part['type'] == 'text' -%}{%- set seen.text = true -%}
      {%- else -%}
        {%- set seen.media = seen.media + 1 -%}
        {%- if seen.text -%}{%- set seen.leading = false -%}{%- endif -%}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
  {%- if PLACEMENT == 'outside' -%}{{- media(content, '') ~ before ~ words(content) -}}
  {%- elif seen.media == 0 -%}{{- before ~ words(content) -}}
  {%- elif PLACEMENT == 'kept' and seen.leading -%}{{- before ~ media(content, '\n') ~ words(content) -}}
  {%- elif PLACEMENT == 'front' or seen.media == 1 -%}{{- before ~ media(content, '\n') ~ (words(content) | trim) -}}
  {%- else -%}
    {{- before -}}
    {%- for part in content -%}
      {%- if part['type'] == 'text' -%}{{- part['text'] -}}
      {%- elif loop.last -%}{{- medium(part) -}}
      {%- elif content[loop.index]['type'] == 'text' and content[loop.index]['text'][:1] in CLOSE -%}
        {{- medium(part) -}}
      {%- else -%}{{- medium(part) ~ '\n' -}}
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- set spoken = messages -%}
{%- set system = SYSTEM -%}
{%- if messages and messages[0]['role'] == 'system' -%}
  {%- set spoken = messages[1:] -%}
  {%- if SYSTEM is none -%}{{- raise_exception('this prompt has no place for a system text') -}}{%- endif -%}
  {%- set system = words(messages[0]['content']) -%}
{%- endif -%}
{%- if SYSTEM is not none -%}{{- BEFORE_SYSTEM ~ system ~ AFTER_SYSTEM -}}{%- endif -%}
{%- for message in spoken -%}
  {%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}
    {{- raise_exception('user and assistant must alternate, the user first') -}}
  {%- endif -%}
  {%- if message['role'] == 'user' -%}
    {{- question(message['content'], BEFORE_FIRST if loop.first else BEFORE_QUESTION) ~ AFTER_QUESTION -}}
    {%- if not loop.last or add_generation_prompt -%}{{- HEADER -}}{%- endif -%}
  {%- elif media(message['content'], '') -%}
    {{- raise_exception('images and videos can only be shown by the user') -}}
  {%- else -%}
    {{- LEAD ~ words(message['content']) ~ END ~ AFTER_ANSWER -}}
  {%- endif -%}
{%- endfor -%}
"""
