"""Twenty prompts of different kinds, by name: what a tokenizer and a decoder meet."""

_PARAGRAPH = (
    "The lighthouse was built in 1874 on a rock that the tide covers twice a day. Its keeper rowed "
    "out with bread, oil and letters, and when the weather was bad he stayed for weeks. ")

PROMPTS = {
    "one word": "The",
    "one letter": "a",
    "short": "The capital of France is",
    "question": "Question: Who wrote the novel Pride and Prejudice?\nAnswer:",
    "list": "Monday, Tuesday, Wednesday,",
    "dialogue": '"Where have you been?" she asked.\n"At the market," he said. "They had no',
    "numbers": "2, 4, 8, 16, 32, 64,",
    "arithmetic": "17 + 25 = 42\n38 + 47 = 85\n56 + 29 =",
    "German": "Die Hauptstadt von Österreich heißt",
    "French": "Il était une fois une princesse qui vivait dans un château près de la",
    "Spanish": "El perro corrió por la playa mientras el niño",
    "Russian": "Москва является столицей",
    "Chinese": "北京是中华人民共和国的",
    "Japanese": "むかしむかし、あるところに、おじいさんと",
    "Arabic": "القاهرة هي عاصمة",
    "Python": "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) +",
    "C++": "#include <vector>\n\nint Sum(const std::vector<int>& values) {\n  int sum = 0;\n  for (",
    "odd characters": "Tabs\tand  double  spaces, emoji 🙂👩‍🚀, ligature ﬁ, zero\u200bwidth, ½ and",
    # Longer than the model's window of 512 positions, one of words and one of numbers.
    "long text": _PARAGRAPH * 16 + "One winter the",
    "long table": "".join(f"{i} squared is {i * i}.\n" for i in range(1, 81)) + "81 squared is",
}
