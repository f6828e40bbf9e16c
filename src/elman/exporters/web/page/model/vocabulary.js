// Symbols: text to their numbers and back, as elman.data.text does it.

// White space as Python's str.split knows it.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const BLANKS = new RegExp(`[${SPACE}]+`, "u");
const IS_BLANK = new RegExp(`^[${SPACE}]$`, "u");
const LETTERS = "[\\p{L}\\p{N}_]";
const WORD = new RegExp(`${LETTERS}+(?:['’]${LETTERS}+)?|[^\\p{L}\\p{N}_${SPACE}]`, "gu");
// The parts that byte pairs are merged in, as in GPT-2. `\s` of Unicode is without the separators \x1c to \x1f.
const S = "\\t-\\r\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const PARTS = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${S}\\p{L}\\p{N}]+|[${S}]+(?![^${S}])|[${S}]+`,
  "gu",
);

export const splitAtBlanks = (text) => text.split(BLANKS).filter(Boolean);
export const isBlank = (character) => IS_BLANK.test(character);

const utf8 = new TextEncoder();

// Text in pieces from symbols that are bytes: each character is returned when it is complete.
class ByteDecoder {
  constructor(bytesOf) {
    this.bytesOf = bytesOf;
    this.reset();
  }

  reset() {
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  }

  push(id) {
    return this.decoder.decode(this.bytesOf(id), { stream: true });
  }

  finish() {
    const text = this.decoder.decode();
    this.reset();
    return text;
  }
}

class CharacterVocabulary {
  constructor({ symbols }) {
    this.symbols = symbols;
    this.size = symbols.length;
    this.ids = new Map(symbols.map((symbol, id) => [symbol, id]));
    this.unknown = this.size;
  }

  encode(text) {
    return Array.from(text, (character) => this.ids.get(character) ?? this.unknown);
  }

  decoder() {
    return { push: (id) => this.symbols[id], finish: () => "" };
  }

  label(id) {
    return this.symbols[id];
  }
}

class ByteVocabulary {
  constructor() {
    this.size = 256;
    this.unknown = null;
  }

  encode(text) {
    return Array.from(utf8.encode(text));
  }

  decoder() {
    return new ByteDecoder((id) => Uint8Array.of(id));
  }

  label(id) {
    return id >= 0x20 && id < 0x7f ? String.fromCharCode(id) : id === 10 ? "\n" : `0x${id.toString(16).padStart(2, "0")}`;
  }
}

class WordVocabulary {
  constructor({ symbols }) {
    this.symbols = symbols;
    this.size = symbols.length;
    this.ids = new Map(symbols.map((symbol, id) => [symbol, id]));
    this.unknown = this.ids.get("<unk>");
    this.endOfLine = this.ids.get("<eos>");
  }

  encode(text) {
    return splitAtBlanks(text.replaceAll("\n", " <eos> ")).map((word) => this.ids.get(word) ?? this.unknown);
  }

  // A space between two words of a line, and none at its ends.
  decoder() {
    let inside = false;
    const push = (id) => {
      const text = id === this.endOfLine ? "\n" : (inside ? " " : "") + this.symbols[id];
      inside = id !== this.endOfLine;
      return text;
    };
    return { push, finish: () => ((inside = false), "") };
  }

  label(id) {
    return id === this.endOfLine ? "\n" : this.symbols[id];
  }
}

class BytePairVocabulary {
  // merges: pairs of symbols in the order in which they were learned; characters: whether symbols are merged from
  // characters, with bytes for those without a symbol, and not from the signs of bytes.
  constructor({ symbols, merges, characters }) {
    this.symbols = symbols;
    this.size = symbols.length;
    this.unknown = null;
    this.characters = characters;
    this.ids = new Map(symbols.map((symbol, id) => [symbol, id]));
    this.ranks = new Map(merges.map(([left, right], rank) => [`${this.ids.get(left)} ${this.ids.get(right)}`, rank]));
    this.merged = merges.map(([left, right]) => this.ids.get(left + right));
    this.parts = new Map();
    this.signs = signsOfBytes();
    const byteOf = new Map(this.signs.map((sign, byte) => [sign, byte]));
    this.bytes = symbols.map((symbol, id) => {
      if (!characters) return Uint8Array.from(symbol, (sign) => byteOf.get(sign));
      return id < 256 ? Uint8Array.of(id) : utf8.encode(symbol);
    });
  }

  encode(text) {
    return (text.match(PARTS) ?? []).flatMap((part) => this.part(part));
  }

  part(part) {
    let ids = this.parts.get(part);
    if (ids === undefined) {
      if (this.parts.size > 10000) this.parts.clear();
      this.parts.set(part, (ids = this.merge(this.first(part))));
    }
    return ids;
  }

  first(part) {
    if (!this.characters) return Array.from(utf8.encode(part), (byte) => this.ids.get(this.signs[byte]));
    return Array.from(part).flatMap((character) => this.ids.get(character) ?? Array.from(utf8.encode(character)));
  }

  // The pair that was learned first is merged first, the leftmost of several.
  merge(ids) {
    for (;;) {
      let best = Infinity, place = -1;
      for (let i = 0; i + 1 < ids.length; i++) {
        const rank = this.ranks.get(`${ids[i]} ${ids[i + 1]}`);
        if (rank < best) [best, place] = [rank, i];
      }
      if (place < 0) return ids;
      ids.splice(place, 2, this.merged[best]);
    }
  }

  decoder() {
    return new ByteDecoder((id) => this.bytes[id]);
  }

  label(id) {
    if (this.characters && id >= 256) return this.symbols[id];
    const text = new TextDecoder().decode(this.bytes[id]);
    return text.includes("\ufffd") ? `0x${Array.from(this.bytes[id], (b) => b.toString(16).padStart(2, "0")).join("")}` : text;
  }
}

// The printable sign of each byte in a tokenizer of bytes, as in GPT-2.
function signsOfBytes() {
  const printable = (b) => (b >= 0x21 && b < 0x7f) || (b >= 0xa1 && b < 0xad) || b >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

const KINDS = { characters: CharacterVocabulary, bytes: ByteVocabulary, words: WordVocabulary, bpe: BytePairVocabulary };

export const buildVocabulary = (fields) => new KINDS[fields.kind](fields);

// The encoder of short texts: words in lower case and punctuation, one more number for what is unknown.
export class TextReader {
  constructor(fields) {
    this.vocabulary = buildVocabulary(fields);
    this.kind = fields.kind;
    this.unknown = this.vocabulary.size;
  }

  // [{id, text}]: the symbols of a text; `text` is what of it they stand for.
  symbols(text) {
    if (this.kind === "characters" || this.kind === "words") {
      const parts = this.kind === "characters" ? Array.from(text) : (text.toLowerCase().match(WORD) ?? []);
      return parts.map((part) => ({ id: this.vocabulary.ids.get(part) ?? this.unknown, text: part }));
    }
    return this.vocabulary.encode(text).map((id) => ({ id, text: this.vocabulary.label(id) }));
  }
}
