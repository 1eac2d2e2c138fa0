"""Ugly lines of text from a seed; tests/text/ugly_text.h makes the same ones.

The characters were assigned by Unicode 8, so that all libraries agree about them.
"""

ATOMS = [
    " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\x0b", "\x1c",
    "a", "I", "Z", "the", " the", " of", "ing", "HTTPServer", "camelCase", "ABCdef", "naïve", "Straße", "İstanbul", "ΣΊΣΥΦΟΣ",
    "ǅ", "ﬁ", "ﬀ", "ſ", "K", "don't", "'s", "'S", "'LL", "'ve", "'re", "'ſ", "'", "''", "’s", "'d'm", "I'M",
    "0", "7", "12", "123", "1234567", "3.14", "1,000", "½", "²", "Ⅷ", "٣٤", "५", "一二三", "2024-01-02",
    ".", ",", "!", "?!", "...", "…", "--", "—", "()", "[", "]", "{\"a\":", "</", "/", "//", "\\", "@#", "$", "€", "+=", "^^^", "~", "_", "__x__",
    "日本語", "です。", "中文", "한국어", "가", "ไทย", "हिन्दी", "العربية", "עברית", "Кириллица", "Ελλάδα",
    "e\u0301", "a\u030a\u0323", "\u0301", "\u0e34", "\u0327\u0301\u0300", "\u1e9b\u0323", "Å", "\u1100\u1161\u11a8",
    "😀", "👍🏽", "👨‍👩‍👧", "🇩🇪", "❤️", "1️⃣", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u2581", "▁x", "\ufffd", "\u0000", "\u0001", "\u007f",
    "𝔘𝔫𝔦", "𐍈", "𠮷", "\ue000", "Ⓐ", "ª", "ʰ", "～", "ＡＢＣ", "①", "㍿", "ﷺ", "…。", "、",
    "<s>", "</s>", "<unk>", "[CLS]", "[MASK]", "[UNK]", "<|im_start|>", "<|im_end|>", " <mask> ", "<mask>", "word", "sword", "«q»",
]
RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0xA1, 0x17F), (0x370, 0x3FF), (0x410, 0x44F), (0x5D0, 0x5EA), (0x621, 0x64A), (0x905, 0x939),
          (0x300, 0x34E), (0x2010, 0x2027), (0x2190, 0x21FF), (0x3041, 0x3096), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x1F600, 0x1F64F)]
# In those ranges, but not assigned or newer.
HOLES = {0x378, 0x379, 0x37F, 0x380, 0x381, 0x382, 0x383, 0x38B, 0x38D, 0x3A2}

LINES = 10_000
BLOCK = 100


class Numbers:
    """Knuth's linear congruential generator; the high half of its state."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % bound


def line(numbers):
    parts = []
    for _ in range(numbers.below(24)):
        kind = numbers.below(8)
        if kind < 5:
            parts.append(ATOMS[numbers.below(len(ATOMS))])
        elif kind == 5:
            parts.append(ATOMS[numbers.below(len(ATOMS))] * (1 + numbers.below(4)))
        else:
            low, high = RANGES[numbers.below(len(RANGES))]
            for _ in range(1 + numbers.below(5)):
                code_point = low + numbers.below(high - low + 1)
                parts.append("?" if code_point in HOLES else chr(code_point))
    return "".join(parts)


def lines(count=LINES, seed=20):
    numbers = Numbers(seed)
    return [line(numbers) for _ in range(count)]
