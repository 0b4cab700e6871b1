"""Nano's CLIPTokenizer: byte-pair merges learned from its captions and a list of shop words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain, pairwise
from pathlib import Path

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

VOCABULARY = 4_000
LENGTH = 40

# Words a shop's captions use and ours may not, so that they cost one or two tokens and not one a
# letter.
SHOP_WORDS = """
a an the and or of in on at with without for from by to as is are its it this that these those
very more most less new classic modern front back side view left right top bottom upper lower
inside outside inner outer large small big little long short wide narrow slim loose tight men man
women woman mens womens boys girls kids unisex adult baby youth photo photograph picture image
studio product catalog catalogue shop store dress gown skirt shirt blouse tshirt tee polo tank top
sweater jumper cardigan hoodie sweatshirt pullover jacket coat parka blazer vest suit pants
trousers jeans leggings joggers tights shorts capri overalls jumpsuit romper robe pajamas
underwear bra swimsuit bikini sock socks shoe shoes sneaker sneakers boot boots sandal sandals
heel heels loafer slipper hat cap beanie scarf glove gloves belt tie bow watch bag backpack tote
purse wallet luggage duffel bottle ring necklace earrings bracelet jewelry sunglasses glasses
umbrella outwear outerwear longsleeve sleeve sleeves sleeveless collar neck neckline crew vneck
round turtleneck hood hooded cuff cuffs hem waist waistband pocket pockets zip zipper button
buttons lace ribbon strap straps strappy pleat pleated ruffle ruffles fringe embroidered
embroidery print printed pattern patterned plain solid striped stripes stripe checked check
checkered plaid tartan dotted dots polka floral flower flowers leaf leopard camouflage geometric
abstract logo graphic cotton wool linen silk satin denim leather suede velvet fleece polyester
nylon spandex cashmere knit knitted ribbed mesh chiffon tweed corduroy canvas fur black white grey
gray silver gold red crimson scarlet burgundy maroon orange coral peach yellow mustard lemon green
olive lime mint teal emerald blue navy sky royal turquoise cyan purple violet lilac lavender plum
magenta pink rose brown tan beige cream ivory khaki camel chocolate charcoal light dark bright
pale deep soft warm cool pastel neon vivid muted multicolor colour color coloured colored
background on plain shadow casual formal elegant sport sports sportswear athletic running yoga
training gym outdoor hiking cycling travel work office party evening wedding summer winter spring
autumn fall everyday vintage retro boho minimal luxury comfortable lightweight breathable
waterproof durable stretch knee ankle thigh floor length mini midi maxi cropped high low rise fit
fitted relaxed oversized straight skinny flared bootcut a-line wrap pencil apple banana orange
lemon milk juice yoghurt yogurt cream bread cheese coffee tea water box carton bottle pack fruit
vegetable fresh organic chair table lamp sofa desk bed shelf phone laptop camera headphones
speaker toy book pen cup mug plate bowl knife kitchen home garden tool one two three four five six
seven eight nine ten first second pair set piece size made designed featuring features perfect
ideal great
""".split()


def make_tokenizer(captions: Iterable[str]) -> CLIPTokenizer:
    """A CLIPTokenizer of at most 4,000 tokens.

    They are 512 byte symbols (no text is unknown), the merges, start and end.
    """
    split = CLIPTokenizer().backend_tokenizer
    counts: Counter[str] = Counter()
    for caption in chain(captions, SHOP_WORDS * 3):
        text = split.normalizer.normalize_str(caption)
        counts.update(word for word, _ in split.pre_tokenizer.pre_tokenize_str(text))
    merges = learn_merges(counts, VOCABULARY - 514)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*alphabet, *(s + "</w>" for s in alphabet), *(a + b for a, b in merges)]
    symbols = [*dict.fromkeys(symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({s: i for i, s in enumerate(symbols)}, merges, model_max_length=LENGTH)


def learn_merges(counts: Mapping[str, int], limit: int) -> list[tuple[str, str]]:
    """The byte-pair merges of a word list (Sennrich et al. 2016).

    The most frequent pair comes first, ties go by spelling. The trainer of `tokenizers` breaks ties
    by chance, and a vocabulary must be the same after a restart.
    """
    words = [([*word[:-1], word[-1] + "</w>"], n) for word, n in sorted(counts.items())]
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, n in words:
            for pair in pairwise(symbols):
                pairs[pair] += n
        if not pairs:
            break
        a, b = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append((a, b))
        for symbols, _ in words:
            i = 0
            while i < len(symbols) - 1:
                if symbols[i] == a and symbols[i + 1] == b:
                    symbols[i : i + 2] = [a + b]
                i += 1
        words = [(symbols, n) for symbols, n in words if len(symbols) > 1]
    return merges


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """tokenizer.json, and the vocab.json and merges.txt that older readers want."""
    tokenizer.save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder))
