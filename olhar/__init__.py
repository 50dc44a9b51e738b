"""olhar: build a vision-language assistant that speaks your community's own language.

The flow, one verb a stage, read in order::

    ingest -> translate -> check -> mix -> train -> evaluate -> publish -> serve

Verbs are modules of ``olhar.stages``; nouns are folders in which every file is one choice
(``languages``, ``sources``, ``checks``, ``prompts``, ``families``, ``benchmarks``, ``metrics``).
A few frozen types (``olhar.core.types``) flow between them, one way.

Layer order; an import may only point to the right::

    cli > stages > serving, reports > training, inference > families
        > prompts, sources, translators, checks, benchmarks > metrics > languages > core
"""

__version__ = "0.1.0"
