"""A data set in one language becomes one in another, with nothing in it broken, lost or paid twice.

Modules in reading order; each knows those above it.

A text and what stays ours of it::

    policies     how the texts of a partition are treated: what a person writes
    spans        what no engine may touch: code, tags, boxes, quotations, letters, numbers
    tables       what needs no engine: closed answers, instructions, the glossary
    lines        line breaks, cells, options and their markers
    sentences    where sentences begin and end
    skeletons    what stays ours, and segments in pieces
    segments     a text -> skeleton and segments -> text again
    invariants   what must hold of what came back

Records::

    layouts      how a JSON file is laid out
    records      the records of a file, and back in the same form (_parquet)
    leaves       which strings of a record are natural language
    wording      segments as JSON text, of which keys are made

Engines and what they said::

    engines      opening one by its name
    pace         how fast, how long to wait, when to stop, what may be spent
    cache        what engines and people have translated, for ever
    calls        asking side by side; no answer is lost
    resolving    a correction, else the engine's answer, else its pieces', else nothing

The work::

    wanted       the segments of a file, each once, on disk
    editing      one record taken apart, and put together again
    passes       the two passes over all records
    work         one file or one list of samples from beginning to end
    estimate     what that will take
    shards, sharing, bulk   the same on several machines (_ray)

People::

    passages     a text as it is reviewed, sentence beside sentence
    translated   a translated file opened again
    exchange     sentences out to people, and back
    review       the worst, a random sample, counts
    corrections  what they wrote, checked and kept
    memory       the cache as a file for others

``commands`` is what the command line says, as settings. An engine (``olhar.translators``) translates single sentences
and knows nothing of all this.
"""
