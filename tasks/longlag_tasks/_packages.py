"""The optional packages of the built-in tasks."""

from __future__ import annotations

from longlag.task import Package

ESPEAK = Package("espeakng_loader", "longlag[speech]", "eSpeak NG, which speaks for spoken-words,")
SOUNDFILE = Package("soundfile", "longlag[speech]", "reading recordings")
TOKENIZERS = Package("tokenizers", "longlag[text]", "a vocabulary of subwords")
SKTIME = Package("sktime", "longlag[vowels]", "japanese-vowels without task.path=FOLDER")
# a base dependency: only its files are read
SKLEARN = Package("sklearn", "longlag", "pixel-digits")
STATSMODELS = Package("statsmodels", "longlag[series]", "a recorded series of forecasting")
MUSIC21 = Package("music21", "longlag[music]", "the corpus of chorales")
