"""Chinese, in simplified characters."""

from olhar.languages import Checks, Language, Translation

# Words, as there are no blanks between them.
STOPWORDS = """
的 了 是 在 我 有 和 就 不 人 都 一 一个 上 也 很 到 说 要 去 你 会 着 没有 看 好 自己 这 那 他 她 它 我们 他们 与
及 或 但 而 因为 所以 如果 对 从 把 被 让 给 吗 呢 吧 什么 哪 怎么 可以
"""

CHECKS = Checks(
    letters=frozenset(),  # its script tells it from others
    accented=0.0,
    never_bare=frozenset(),
    endings=(),
    length=0.35,
)

SHORT_ANSWERS: dict[str, tuple[str, ...]] = {
    "yes": ("是", "是的"),
    "no": ("不是", "否"),
    "unanswerable": ("无法回答",),
    "none": ("没有",),
    "nothing": ("什么都没有",),
    "both": ("两者都是",),
    "neither": ("都不是",),
    "true": ("正确",),
    "false": ("错误",),
    "left": ("左边",),
    "right": ("右边",),
    "top": ("上面",),
    "bottom": ("下面",),
    "center": ("中央",),
    "middle": ("中间",),
    "day": ("白天",),
    "night": ("夜晚",),
    "indoors": ("室内",),
    "outdoors": ("室外",),
    "red": ("红色",),
    "blue": ("蓝色",),
    "green": ("绿色",),
    "yellow": ("黄色",),
    "black": ("黑色",),
    "white": ("白色",),
    "gray": ("灰色",),
    "brown": ("棕色",),
    "orange": ("橙色",),
    "purple": ("紫色",),
    "pink": ("粉色",),
    "beige": ("米色",),
    "silver": ("银色",),
    "gold": ("金色",),
    "zero": ("零",),
    "one": ("一",),
    "two": ("二",),
    "three": ("三",),
    "four": ("四",),
    "five": ("五",),
    "six": ("六",),
    "seven": ("七",),
    "eight": ("八",),
    "nine": ("九",),
    "ten": ("十",),
    "eleven": ("十一",),
    "twelve": ("十二",),
}

TRANSLATION = Translation(
    stop="。",
    question="？",
    quotes=(('"', '"'), ("“", "”"), ("‘", "’"), ("「", "」"), ("『", "』"), ("《", "》")),
    elisions=frozenset(),
    abbreviations=frozenset(),
    ending_abbreviations=frozenset(),
    numbered=frozenset(),
    labelled=("选项", "答案", "图", "点"),
    joiners=("和", "或"),
    capitals=frozenset(),
    short_answers=SHORT_ANSWERS,
    instructions={
        "single_word": ("请用一个词或短语回答问题",),
        "option_letter": ("请直接用所给选项中对应的字母回答",),
        "yes_or_no": ("请回答“是”或“不是”",),
        "short_words": ("如有可能，请用简短的词或短语回答问题",),
        "letter_at_end": ("请回答问题，并在最后给出正确选项的字母，例如 A、B、C、D",),
        "from_options": ("请从上面的选项中选出正确答案",),
        "insufficient": ("当所给信息不足时，请回答“无法回答”",),
        "one_sentence": ("请用一句话为所给图片写说明",),
        "describe_region": ("请简短描述这个区域",),
        "find_region": ("请给出这句话所描述区域的边界框坐标",),
        "ocr_tokens": ("参考OCR文本",),
    },
)

LANGUAGE = Language(
    code="zh",
    name="Chinese",
    own_name="中文",
    yes=("是", "是的", "对", "对的", "有", "正确", "没错", "当然", "可以"),
    no=("不是", "否", "不", "不对", "没有", "错", "错误", "不正确", "不可以", "从不"),
    options=tuple("ABCDEFGHI"),
    articles=frozenset(),  # no Chinese word is a Latin letter
    answer_cues=(
        "正确答案是",
        "正确答案为",
        "正确答案",
        "最佳答案是",
        "最终答案是",
        "答案是",
        "答案为",
        "答案应该是",
        "答案应为",
        "答案选",
        "答案",
        "正确选项是",
        "正确选项为",
        "正确选项",
        "选项是",
        "选项",
        "应该选",
        "应选",
        "我选择",
        "我选",
        "选择",
        "故选",
        "回答",
    ),
    roles={"user": "用户", "assistant": "助手", "human": "人类"},
    system={
        "assistant": "一位好奇的用户与一个人工智能助手之间的对话。助手对用户的问题给出有用、详细且礼貌的回答。",
        "human": "一位好奇的人与一个人工智能助手之间的对话。助手对这个人的问题给出有用、详细且礼貌的回答。",
        "vision": "你是一个乐于助人的语言与视觉助手。你能理解用户提供的视觉内容，并用自然语言协助用户完成各种任务。",
        "qwen": "你是一个乐于助人的助手。",
        "mpt": "用户与一个基于大语言模型的人工智能助手之间的对话。助手给出有用且诚实的回答。",
        "direct": "请回答问题。",
        # To the letter what InternVL was trained with: of its templates internvl2_5, and Hermes-2 and internlm2-chat.
        "internvl2_5": (
            "你是书生·万象，英文名是InternVL，"
            "是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
        ),
        "internvl_hermes": (
            "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，"
            "英文名叫InternVL, 是一个有用无害的人工智能助手。"
        ),
    },
    labels={"image": "图像", "frame": "帧"},
    describe="请描述这张图片。",
    scripts=frozenset({"Han"}),
    stopwords=frozenset(STOPWORDS.split()),
    engine_codes={
        "nllb": "zho_Hans",
        "madlad": "zh",
        "opus": "cmn_Hans",
        "google": "zh-CN",
        "deepl": "ZH-HANS",
        "openai": "Simplified Chinese",
    },
    checks=CHECKS,
    pointing=None,
    translation=TRANSLATION,
    scenes=None,
)
