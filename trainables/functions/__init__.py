"""Models that are functions: each seed is a generator, and one yield of it is one epoch.

``train(settings: Settings, seed: int)`` yields mappings of ``<part>_<metric>`` (part train,
val or test), and if it has them ``train_loss``, ``val_loss`` and ``learning_rate``; the
objective's val figure each time. With a third parameter ``checkpoint``, a folder, it may save
there and go on from what it finds; it then yields ``epoch`` too, 1 for the first.
"""
