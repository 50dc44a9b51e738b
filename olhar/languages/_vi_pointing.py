"""How Vietnamese instruction data speak of marks on an image: translated from English, awaiting a native reader."""

from olhar.languages import Pointing

MARK_NOUNS = {
    "rectangle": "hình chữ nhật",
    "ellipse": "hình elip",
    "triangle": "hình tam giác",
    "point": "điểm",
    "scribble": "nét vẽ nguệch ngoạc",
    "mask contour": "đường viền mặt nạ",
    "mask": "mặt nạ",
    "arrow": "mũi tên",
}
MARK_COLOURS = {
    "red": "đỏ",
    "lime": "xanh lá mạ",
    "blue": "xanh dương",
    "yellow": "vàng",
    "fuchsia": "hồng cánh sen",
    "aqua": "xanh lơ",
    "orange": "cam",
    "purple": "tím",
    "gold": "vàng kim",
}

POINTING = Pointing(
    name=lambda shape, colour: f"{MARK_NOUNS[shape]} màu {MARK_COLOURS[colour]}" if colour else MARK_NOUNS[shape],
    places={
        "rectangle": ("trong {mark}",),
        "ellipse": ("trong {mark}",),
        "triangle": ("có {mark}",),
        "point": ("tại {mark}",),
        "scribble": ("có {mark}",),
        "mask contour": ("có {mark}",),
        "mask": ("có {mark}",),
        "arrow": ("được {mark} chỉ vào",),
    },
    region=(
        "Hãy mô tả vật thể được đánh dấu. Hãy trả lời bằng một cụm từ ngắn.",
        "Hãy mô tả vùng được chỉ. Hãy trả lời bằng một cụm từ ngắn.",
        "Hãy mô tả vật thể {place}. Hãy trả lời bằng một cụm từ ngắn.",
    ),
    relation=(
        "Vật thể {first} và vật thể {second} có quan hệ gì với nhau? "
        "Hãy trả lời bằng một bộ ba ngắn: chủ thể, quan hệ, đối tượng."
    ),
    unnamed=("vật thể {place}", "đối tượng {place}"),
    named="{name} {place}",
    joined="{first} và {second}",
    exemplar="Vật thể mẫu nằm {place}.",
    why=(
        "Tại sao?",
        "Tại sao bạn nghĩ như vậy?",
        "Điều gì khiến bạn nói như vậy?",
        "Lập luận của bạn là gì?",
        "Điều gì dẫn bạn đến kết luận đó?",
        "Bạn có thể giải thích cơ sở của suy nghĩ đó không?",
    ),
    rationale=(
        "Tôi đưa cho bạn một câu hỏi và câu trả lời; hãy giải thích vì sao câu trả lời đó đúng. "
        "“{question}” Câu trả lời là “{answer}”. Lý do của quyết định này là gì?"
    ),
    caption=(
        "Hãy mô tả hình ảnh với vật thể được các dấu chỉ ra; đừng nhắc đến các dấu đó.",
        "Hãy mô tả hình ảnh đã cho bằng vật thể được các dấu chỉ ra. Hãy viết một câu bằng ngôn ngữ tự nhiên và đừng "
        "nhắc đến các dấu đó.",
    ),
    marked_caption=(
        "Hãy mô tả hình ảnh với vật thể được các dấu chỉ ra; hãy nhắc đến cả dấu và loại vật thể.",
        "Hãy mô tả hình ảnh với vật thể được các dấu chỉ ra; hãy nhắc đến cả dấu, ví dụ một khung màu đỏ, và loại vật "
        "thể, ví dụ một con chó.",
    ),
    listed=("Gợi ý: các dấu là: {marks}.", "Các dấu là: {marks}."),
)
