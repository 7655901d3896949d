"""What LLaMA-Factory 0.9.5 gave for these texts: its ComputeSimilarity, run once; ROUGE-1, -2, -L and BLEU-4."""

from __future__ import annotations

EXPECTED: list[tuple[str, str, tuple[float, float, float, float]]] = [
    ("The lake froze early this year.", "The lake froze early this year.", (100.0, 100.0, 100.0, 100.0)),
    ("A heron stood on the pier.", "Two boats left the harbour at noon.", (26.6667, 0.0, 26.6667, 15.7515)),
    ("", "Nothing was answered here.", (0.0, 0.0, 0.0, 0.0)),
    ("Something was answered.", "", (0.0, 0.0, 0.0, 0.0)),
    ("  \n ", "Only white space came back.", (0.0, 0.0, 0.0, 0.0669)),
    ("Yes", "Yes.", (66.6667, 0.0, 66.6667, 60.2529)),
    (
        "Rivers carry sand to the sea, and the sea gives it back in storms.",
        "Rivers carry sand and salt to the sea; storms bring some of it back.",
        (73.3333, 34.4828, 56.25, 66.5011),
    ),
    ("42", "The answer is 42.", (33.3333, 0.0, 33.3333, 0.0329)),
    ("今天的天气很好,我们去公园散步。", "今天天气很好,我们一起去公园散步吧。", (72.7273, 50.0, 72.7273, 57.5869)),
    ("请先把水烧开,再放入面条。", "先把锅里的水烧开,然后下面条,煮五分钟。", (60.8696, 27.2727, 58.3333, 15.7065)),
    ("模型训练需要数据。", "苹果是一种水果。", (20.0, 0.0, 20.0, 4.7677)),
    (
        "LoRA 的秩是 16,学习率是 2e-4。",
        "LoRA 的 rank 设为 16,learning rate 设为 2e-4。",
        (64.0, 41.6667, 59.2593, 23.6784),
    ),
    (
        "Das Brot backt vierzig Minuten.",
        "Brot backt etwa vierzig Minuten im heißen Ofen.",
        (58.8235, 26.6667, 58.8235, 50.2677),
    ),
    ("one two three four five six seven eight", "eight seven six five four three two one", (100.0, 0.0, 12.5, 82.7732)),
    ("tide tide tide tide", "tide comes in, tide goes out", (28.5714, 0.0, 36.3636, 29.562)),
    (
        "First line.\nSecond line.\n\nThird line.",
        "First line. Second line. Third line. Fourth line.",
        (83.3333, 66.6667, 81.8182, 59.72),
    ),
    (
        "def area(r):\n    return 3.14 * r ** 2",
        "def area(radius):\n    return math.pi * radius ** 2",
        (72.7273, 46.1538, 71.4286, 53.1993),
    ),
    (
        "A clock on the wall ticks. It is slow. A clock on the wall ticks.",
        "The clock on the wall is slow.",
        (77.7778, 55.5556, 53.8462, 40.7168),
    ),
    ("…!?", "?!…", (100.0, 0.0, 33.3333, 29.7302)),
    ("The 3 bells rang at 6:30 p.m.", "At half past six the three bells rang.", (30.0, 10.5263, 28.5714, 33.0449)),
]

MEANS = (53.441509999999994, 22.949564999999996, 43.496069999999996, 36.167944999999996)
"""Of all rows together."""
