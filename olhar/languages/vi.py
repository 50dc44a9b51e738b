"""Vietnamese."""

from collections.abc import Mapping

from olhar.languages import Checks, Language, Scenes, Translation
from olhar.languages._vi_pointing import POINTING

# Whole strings of one or two of the syllables below that would be rude.
NEVER_SPELL = """
cu cucu cutè cumá cumạ cutộ bu bucu đu đumá đumạ đuma đumè đimá đimạ lộ lô lolo tè tètè mátè hề đi siđa đé bạđà bê
bêđê đê cạ tộ hềcu côđê cavê macô màcô
"""

STOPWORDS = """
và là của có không được cho một những các này đó trong với để người khi đã sẽ đang từ ở ra vào lên nhưng cũng như
thì mà nếu vì tại về nhiều rất bị trên dưới hay hoặc gì nào đến tôi bạn
"""


def inflect(row: Mapping[str, str]) -> dict[str, str]:
    """The forms of one row of ``nouns.tsv``: the classifier stands before the noun, there are no articles.

    The bare noun is used where there is no classifier or where it is already part of the name.
    """
    noun, classifier = row["vi"], row["vi_classifier"]
    counted = f"{classifier} {noun}" if classifier and row["vi_keep"] != "1" else noun
    return {
        "n": noun,
        "a_n": counted,
        "the_n": counted,
        "of_the_n": f"của {counted}",
        "how_many_n": f"có bao nhiêu {counted}",
    }


def _shape(name: str) -> dict[str, str]:
    return {"name": name, "the_name": name, "of_the_name": f"của {name}"}


SCENES = Scenes(
    noun="vi",
    questions={
        "name": ("Đây là gì?", "Trong ảnh có vật gì?"),
        "cap": ("Hãy mô tả bức ảnh.",),
        "count": ("Có bao nhiêu vật?",),
        "countk": ("{how_many_n}?",),
        "has": ("Trong ảnh có {a_n} không?",),
        "where": ("{the_n} ở đâu?",),
        "rel": ("Vật gì ở {relation}?",),
        "relyn": ("{the_n} có ở {relation} không?",),
        "col": ("{the_shape} có màu gì?",),
        "shape": ("Hình nào có màu {colour}?",),
        "ocr": ("Chữ viết là gì?",),
        "box": ("Trong khung đỏ có gì?",),
        "arrow": ("Mũi tên chỉ vào gì?",),
        "new": ("Ảnh thứ hai có gì mà ảnh thứ nhất không có?",),
        "gone": ("Vật gì đã biến mất ở ảnh thứ hai?",),
        "move": ("Vật di chuyển về hướng nào?",),
    },
    inflect=inflect,
    quadrants=("trên bên trái", "trên bên phải", "dưới bên trái", "dưới bên phải"),
    relations={
        "left": "bên trái {the_n}",
        "right": "bên phải {the_n}",
        "above": "phía trên {the_n}",
        "below": "phía dưới {the_n}",
    },
    directions={"right": "phải", "left": "trái", "up": "lên", "down": "xuống"},
    shapes={
        "square": _shape("hình vuông"),
        "circle": _shape("hình tròn"),
        "triangle": _shape("hình tam giác"),
        "diamond": _shape("hình thoi"),
    },
    colours={
        "red": "đỏ",
        "blue": "xanh dương",
        "green": "xanh lá",
        "yellow": "vàng",
        "purple": "tím",
        "orange": "cam",
        "black": "đen",
        "pink": "hồng",
    },
    numbers=("một", "hai", "ba", "bốn"),
    syllables=(tuple("bcđghlmntvs"), tuple("aăâeêioôơưuàáạảèéếềộớự")),
    never_spell=frozenset(NEVER_SPELL.split()),
)

# Without diacritics "ie" and "uo" stand in no syllable. Of other words only those that are none then, not "những".
NEVER_BARE = """
không một đầu người được việc nhiều trước hiện biết chiến tiếp điều cuộc nước phương thường trường tuổi viết liên
thiếu kiến nhiên chuyện muốn luôn xuống đường rượu khuôn tường giường gương vườn hướng miệng tiếng biển hiểu đều tiền
điện
"""

CHECKS = Checks(
    letters=frozenset("áàảãạăắằẳẵặâấầẩẫậđéèẻẽẹêếềểễệíìỉĩịóòỏõọôốồổỗộơớờởỡợúùủũụưứừửữựýỳỷỹỵ"),
    accented=0.8,
    never_bare=frozenset(NEVER_BARE.split()),
    endings=(),
    length=1.09,
)

SHORT_ANSWERS: dict[str, tuple[str, ...]] = {
    "yes": ("có", "vâng"),
    "no": ("không",),
    "unanswerable": ("không thể trả lời",),
    "none": ("không có",),
    "nothing": ("không có gì",),
    "both": ("cả hai",),
    "neither": ("không cái nào",),
    "true": ("đúng",),
    "false": ("sai",),
    "left": ("bên trái", "trái"),
    "right": ("bên phải", "phải"),
    "top": ("phía trên",),
    "bottom": ("phía dưới",),
    "center": ("trung tâm",),
    "middle": ("ở giữa",),
    "day": ("ban ngày",),
    "night": ("ban đêm",),
    "indoors": ("trong nhà",),
    "outdoors": ("ngoài trời",),
    "red": ("đỏ", "màu đỏ"),
    "blue": ("xanh dương", "màu xanh dương"),
    "green": ("xanh lá", "màu xanh lá"),
    "yellow": ("vàng", "màu vàng"),
    "black": ("đen", "màu đen"),
    "white": ("trắng", "màu trắng"),
    "gray": ("xám", "màu xám"),
    "brown": ("nâu", "màu nâu"),
    "orange": ("cam", "màu cam"),
    "purple": ("tím", "màu tím"),
    "pink": ("hồng", "màu hồng"),
    "beige": ("be", "màu be"),
    "silver": ("bạc", "màu bạc"),
    "gold": ("vàng kim", "màu vàng kim"),
    "zero": ("số không",),
    "one": ("một",),
    "two": ("hai",),
    "three": ("ba",),
    "four": ("bốn",),
    "five": ("năm",),
    "six": ("sáu",),
    "seven": ("bảy",),
    "eight": ("tám",),
    "nine": ("chín",),
    "ten": ("mười",),
    "eleven": ("mười một",),
    "twelve": ("mười hai",),
}

TRANSLATION = Translation(
    stop=".",
    question="?",
    quotes=(('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("«", "»")),
    elisions=frozenset(),
    abbreviations=frozenset({"bs", "gs", "ks", "pgs", "th.s", "ths", "tp", "tr", "ts", "vd"}),
    ending_abbreviations=frozenset({"v.v"}),
    numbered=frozenset({"h", "p", "q", "t"}),
    labelled=("phương án", "đáp án", "lựa chọn", "câu", "hình", "điểm"),
    joiners=("và", "hoặc"),
    capitals=frozenset(),
    short_answers=SHORT_ANSWERS,
    instructions={
        "single_word": ("Hãy trả lời câu hỏi bằng một từ hoặc một cụm từ duy nhất",),
        "option_letter": ("Hãy trả lời trực tiếp bằng chữ cái của phương án trong các lựa chọn đã cho",),
        "yes_or_no": ("Hãy trả lời có hoặc không",),
        "short_words": ("Nếu có thể, hãy trả lời câu hỏi bằng từ hoặc cụm từ ngắn",),
        "letter_at_end": ("Hãy trả lời câu hỏi và nêu chữ cái của phương án đúng ở cuối, ví dụ: A, B, C, D",),
        "from_options": ("Hãy chọn câu trả lời đúng trong các lựa chọn ở trên",),
        "insufficient": ("Khi thông tin được cung cấp không đủ, hãy trả lời 'Không thể trả lời'",),
        "one_sentence": ("Hãy viết chú thích bằng một câu cho hình ảnh được cung cấp",),
        "describe_region": ("Hãy mô tả ngắn gọn vùng này",),
        "find_region": ("Hãy cho biết tọa độ khung bao của vùng mà câu này mô tả",),
        "ocr_tokens": ("Các từ OCR tham khảo",),
    },
)

LANGUAGE = Language(
    code="vi",
    name="Vietnamese",
    own_name="Tiếng Việt",
    yes=(
        "có",
        "đúng",
        "đúng vậy",
        "vâng",
        "dạ",
        "ừ",
        "phải rồi",
        "chính xác",
        "tất nhiên",
    ),
    no=(
        "không",
        "không có",
        "không phải",
        "không đúng",
        "sai",
        "chưa",
        "chẳng",
        "không hề",
    ),
    options=tuple("ABCDEFGHI"),
    articles=frozenset({"a", "e", "i", "à", "ạ"}),
    answer_cues=(
        "đáp án đúng là",
        "đáp án chính xác là",
        "đáp án là",
        "đáp án đúng",
        "đáp án",
        "câu trả lời đúng là",
        "câu trả lời là",
        "câu trả lời",
        "phương án đúng là",
        "phương án đúng",
        "phương án",
        "lựa chọn đúng là",
        "lựa chọn",
        "trả lời",
        "ý đúng là",
        "chọn",
        "câu",
    ),
    roles={"user": "Người dùng", "assistant": "Trợ lý", "human": "Người"},
    system={
        "assistant": (
            "Cuộc trò chuyện giữa một người dùng tò mò và một trợ lý trí tuệ nhân tạo. "
            "Trợ lý đưa ra những câu trả lời hữu ích, chi tiết và lịch sự cho các câu hỏi của người dùng."
        ),
        "human": (
            "Cuộc trò chuyện giữa một người tò mò và một trợ lý trí tuệ nhân tạo. "
            "Trợ lý đưa ra những câu trả lời hữu ích, chi tiết và lịch sự cho các câu hỏi của người đó."
        ),
        "vision": (
            "Bạn là một trợ lý ngôn ngữ và thị giác hữu ích. Bạn hiểu được nội dung hình ảnh mà người dùng cung cấp "
            "và giúp người dùng thực hiện nhiều nhiệm vụ bằng ngôn ngữ tự nhiên."
        ),
        "qwen": "Bạn là một trợ lý hữu ích.",
        "mpt": (
            "Cuộc trò chuyện giữa một người dùng và một trợ lý AI. "
            "Trợ lý đưa ra những câu trả lời hữu ích và trung thực."
        ),
        "direct": "Hãy trả lời các câu hỏi.",
    },
    labels={"image": "Ảnh", "frame": "Khung hình"},
    describe="Hãy mô tả bức ảnh.",
    scripts=frozenset({"Latin"}),
    stopwords=frozenset(STOPWORDS.split()),
    engine_codes={
        "nllb": "vie_Latn",
        "madlad": "vi",
        "opus": "vie",
        "google": "vi",
        "deepl": "VI",
        "openai": "Vietnamese",
    },
    checks=CHECKS,
    pointing=POINTING,
    translation=TRANSLATION,
    scenes=SCENES,
)
