"""The outlet to the notice board: text becomes pages of dots, and the pages are kept on the board.

spelling (pure)   the text, cleaned and checked letter by letter
layout (pure)     words to lines, lines to pages, pages to seconds
raster            lines to dots, with GNU Unifont
dots (pure)       a picture of one colour: a small frozen value
picture (pure)    a finished page in the colours of its board
protocols (pure)  what to tell a board, and the codec that says it in the board's language
link              the serial line: gaps, replies, retries
panel             what the board holds, and how it is brought to hold something else
notices           what is wanted on the board, and the table that outlives a restart
presenter         the thread of life: who is shown, which page, since when, until when
"""
