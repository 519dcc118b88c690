// A file is taken apart into header and data; the header into JSON tokens, as far as they can be told. Every change is
// a splice of the header's text.
#include "mutate.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../csrc/core/rng.h"

// What no longer fits is cut off: half a file is as good a test as a whole one.
enum { MAX_HEADER = 1 << 16, MAX_DATA = 1 << 16, MAX_TOKENS = 4096 };

typedef struct buffer {
  char bytes[MAX_HEADER];
  size_t size;
} buffer;

typedef struct token {
  size_t begin, end;
  char kind;  // '"' a string, '0' a number or word, ' ' white space, else the character itself
} token;

static buffer header;
static uint8_t data[MAX_DATA];
static size_t data_size;
static token tokens[MAX_TOKENS];
static int token_count;

static uint64_t random_seed, random_index;

static uint32_t below(uint32_t bound) { return bw_below(bw_philox(random_seed, 0, random_index++, 0).v[0], bound); }
static bool chance(uint32_t of) { return below(of) == 0; }
#define PICK(table) (table)[below((uint32_t)(sizeof(table) / sizeof(table)[0]))]

static const char* const names[] = {"a",
                                    "b",
                                    "c",
                                    "",
                                    "weight",
                                    "trunk.0.weight",
                                    "optimizer.first_moment",
                                    "__metadata__",
                                    "format",
                                    "opponents",
                                    "iteration",
                                    "snapshots",
                                    "dtype",
                                    "shape",
                                    "data_offsets",
                                    "__proto__"};

static const char* const dtypes[] = {"F32", "F64", "F16", "BF16", "I64", "I32", "I16",
                                     "I8",  "U64", "U32", "U16",  "U8",  "BOOL"};
static const int dtype_bytes[] = {4, 8, 2, 2, 8, 4, 2, 1, 8, 4, 2, 1, 1};

static const char* const others[] = {"f32",
                                     "F8_E4M3",
                                     "F4",
                                     "C64",
                                     "U16 ",
                                     "I128",
                                     "1",
                                     "1,2",
                                     "1,2,3",
                                     "9007199254740992",
                                     "9007199254740993",
                                     "99999999999999999999",
                                     "01",
                                     "-1",
                                     " 1",
                                     ",",
                                     "bellows-selfplay-2"};

static const char* const numbers[] = {"0",
                                      "1",
                                      "2",
                                      "3",
                                      "4",
                                      "8",
                                      "255",
                                      "4294967295",
                                      "4294967296",
                                      "9007199254740993",
                                      "2305843009213693952",
                                      "4611686018427387905",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "18446744073709551615",
                                      "18446744073709551616",
                                      "-1",
                                      "-0",
                                      "01",
                                      "1.0",
                                      "1e3",
                                      "1E400",
                                      "null",
                                      "true",
                                      "NaN",
                                      "[]",
                                      "[[1]]",
                                      "{}",
                                      "\"1\""};

// Pieces of strings, as the header spells them.
static const char* const pieces[] = {"\\\"",
                                     "\\\\",
                                     "\\/",
                                     "\\b\\f\\n\\r\\t",
                                     "\\u0041",
                                     "\\u00e9",
                                     "\\u20AC",
                                     "\\ud83d\\ude00",
                                     "\\u0000",
                                     "\\ud800",
                                     "\\udc00",
                                     "\\ud800\\u0041",
                                     "\\ud800\\ud800",
                                     "\\u12",
                                     "\\x41",
                                     "\\",
                                     "\"",
                                     "\x7F",
                                     "\x1F",
                                     "\n",
                                     "\xC3\xA9",
                                     "\xE2\x82\xAC",
                                     "\xF0\x9F\x98\x80",
                                     "\xEF\xBB\xBF",
                                     "\xC0\x80",
                                     "\xED\xA0\x80",
                                     "\xF4\x90\x80\x80",
                                     "\xC3",
                                     "\xFF"};

static const char* const marks[] = {"{", "}", "[", "]", ",", ":", "\"", " ", "\t\n\r ", "\v", "0", "null", "/**/", "'"};

// ---- text ----

// Replaces the bytes from begin to end.
static void splice(buffer* text, size_t begin, size_t end, const char* with, size_t length) {
  if (begin + length > MAX_HEADER) length = MAX_HEADER - begin;
  size_t rest = text->size - end;
  if (begin + length + rest > MAX_HEADER) rest = MAX_HEADER - begin - length;
  memmove(text->bytes + begin + length, text->bytes + end, rest);
  memcpy(text->bytes + begin, with, length);
  text->size = begin + length + rest;
}

static void append(const char* text) { splice(&header, header.size, header.size, text, strlen(text)); }

static void append_number(uint64_t value) {
  char text[24];
  snprintf(text, sizeof text, "%llu", (unsigned long long)value);
  append(text);
}

static void append_string(void) {
  append("\"");
  if (chance(3)) {
    append(pieces[below(8)]);
  } else {
    append(PICK(names));
  }
  if (chance(4)) append_number(below(1000));
  append("\"");
}

static void append_space(void) {
  if (chance(12)) append(chance(2) ? " " : " \t\r\n");
}

static void read_tokens(void) {
  token_count = 0;
  for (size_t at = 0; at < header.size && token_count < MAX_TOKENS;) {
    token* t = &tokens[token_count++];
    const char c = header.bytes[at];
    *t = (token){.begin = at, .kind = c};
    ++at;
    if (c == '"') {
      while (at < header.size && header.bytes[at] != '"') at += header.bytes[at] == '\\' ? 2 : 1;
      at = at < header.size ? at + 1 : header.size;
    } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      while (at < header.size && header.bytes[at] == ' ') ++at;
      t->kind = ' ';
    } else if (!strchr("{}[],:", c)) {
      while (at < header.size && !strchr("{}[],:\" \t\r\n", header.bytes[at])) ++at;
      t->kind = '0';
    }
    t->end = at;
  }
}

static int find_token(char kind) {
  if (token_count == 0) return -1;
  const int begin = (int)below((uint32_t)token_count);
  for (int i = 0; i < token_count; ++i) {
    const int at = (begin + i) % token_count;
    if (tokens[at].kind == kind) return at;
  }
  return -1;
}

// The last token of the member that begins with the string `first`; -1 if that begins none.
static int member_end(int first) {
  int depth = 0;
  if (first + 2 >= token_count || tokens[first + 1].kind != ':') return -1;
  for (int at = first + 2; at < token_count; ++at) {
    const char kind = tokens[at].kind;
    if (kind == '{' || kind == '[') ++depth;
    if (kind == '}' || kind == ']') --depth;
    if (depth < 0) return -1;
    if (depth == 0) return at;
  }
  return -1;
}

// ---- a new file ----

static void append_tensor(uint64_t begin, uint64_t* end) {
  uint64_t bytes;
  const uint32_t dtype = below(13);
  const uint32_t rank = chance(20) ? 5 : below(5);
  char shape[128] = "[";
  bytes = (uint64_t)dtype_bytes[dtype];
  for (uint32_t i = 0; i < rank; ++i) {
    const uint32_t size = chance(6) ? 0 : 1 + below(3);
    bytes *= size;
    snprintf(shape + strlen(shape), 16, "%s%u", i ? "," : "", size);
  }
  *end = begin + bytes;
  const uint32_t first = below(3);
  for (uint32_t i = 0; i < 3; ++i) {
    append(i == 0 ? "{" : ",");
    append_space();
    const uint32_t field = (first + i) % 3;
    if (field == 0) {
      append("\"dtype\":\"");
      append(dtypes[dtype]);
      append("\"");
    } else if (field == 1) {
      append("\"shape\":");
      append(shape);
      append("]");
    } else {
      append("\"data_offsets\":[");
      append_number(begin);
      append(",");
      append_space();
      append_number(*end);
      append("]");
    }
  }
  append("}");
}

static void append_metadata(void) {
  append("\"__metadata__\":{");
  for (uint32_t i = 0, count = below(4); i < count; ++i) {
    if (i > 0) append(",");
    append_string();
    append_space();
    append(":");
    append_string();
  }
  append("}");
}

static void make_file(void) {
  header.size = 0;
  append("{");
  uint64_t end = 0;
  const uint32_t count = below(6), metadata = below(2 * count + 2);
  for (uint32_t i = 0; i <= count; ++i) {
    if (i == metadata) append_metadata();
    if (i == count) break;
    if (header.size > 1) append(",");
    append_string();
    append(":");
    append_tensor(end, &end);
    if (i + 1 == metadata) append(",");
  }
  append("}");
  while (header.size % 8 != 0 && !chance(8)) append(" ");
  data_size = end < MAX_DATA ? (size_t)end : MAX_DATA;
  for (size_t i = 0; i < data_size; ++i) data[i] = (uint8_t)below(256);
}

// ---- changes ----

static void replace_token(int at, const char* text) {
  splice(&header, tokens[at].begin, tokens[at].end, text, strlen(text));
}

static void change_string(void) {
  const int at = find_token('"');
  if (at < 0) return;
  const token t = tokens[at];
  char text[160];
  switch (below(6)) {
    case 0:
      snprintf(text, sizeof text, "\"%s\"", PICK(names));
      replace_token(at, text);
      break;
    case 1:
      snprintf(text, sizeof text, "\"%s\"", chance(2) ? PICK(others) : PICK(dtypes));
      replace_token(at, text);
      break;
    case 2: {
      // Longer than any room for a word.
      char run[300];
      memset(run, 'x', sizeof run);
      splice(&header, t.begin + 1, t.begin + 1, run, below(sizeof run));
      break;
    }
    default: {
      const char* piece = PICK(pieces);
      const size_t inside = t.begin + 1 + below((uint32_t)(t.end - t.begin));
      const size_t place = inside < t.end ? inside : t.end;
      splice(&header, place, place, piece, strlen(piece));
    }
  }
}

static void change_number(void) {
  const int at = find_token('0');
  if (at < 0) return;
  unsigned long long value = 0;
  char text[32];
  const size_t length = tokens[at].end - tokens[at].begin;
  snprintf(text, sizeof text, "%.*s", (int)(length < 24 ? length : 24), header.bytes + tokens[at].begin);
  sscanf(text, "%llu", &value);
  switch (below(4)) {
    case 0:
      value += below(9);
      break;
    case 1:
      value -= below(9);
      break;
    case 2:
      value = data_size + below(3) - 1;
      break;
    default:
      replace_token(at, PICK(numbers));
      return;
  }
  snprintf(text, sizeof text, "%llu", value);
  replace_token(at, text);
}

static void change_tokens(void) {
  if (token_count == 0) return;
  const token a = tokens[below((uint32_t)token_count)], b = tokens[below((uint32_t)token_count)];
  static buffer copy;
  memcpy(copy.bytes, header.bytes + b.begin, b.end - b.begin);
  copy.size = b.end - b.begin;
  switch (below(4)) {
    case 0:
      splice(&header, a.begin, a.end, "", 0);
      break;
    case 1:
      splice(&header, a.begin, a.begin, copy.bytes, copy.size);
      break;
    case 2:
      splice(&header, a.begin, a.end, copy.bytes, copy.size);
      break;
    default: {
      const char* mark = PICK(marks);
      splice(&header, a.begin, a.begin, mark, strlen(mark));
    }
  }
}

// Takes a member away or puts a copy of it before another, under its own name or a new one.
static void change_members(void) {
  const int first = find_token('"');
  const int last = first < 0 ? -1 : member_end(first);
  if (last < 0) return;
  if (chance(3)) {
    const bool comma = last + 1 < token_count && tokens[last + 1].kind == ',';
    splice(&header, tokens[first].begin, tokens[comma ? last + 1 : last].end, "", 0);
    return;
  }
  const int before = find_token('"');
  if (member_end(before) < 0) return;
  static buffer copy;
  copy.size = 0;
  char name[40] = "";
  if (!chance(3)) snprintf(name, sizeof name, "\"%s%u\"", PICK(names), below(100));
  const size_t begin = name[0] ? tokens[first].end : tokens[first].begin;
  splice(&copy, 0, 0, name, strlen(name));
  splice(&copy, copy.size, copy.size, header.bytes + begin, tokens[last].end - begin);
  splice(&copy, copy.size, copy.size, ",", 1);
  const uint32_t times = chance(10) ? 1 + below(40) : 1;
  for (uint32_t i = 0; i < times; ++i) {
    splice(&header, tokens[before].begin, tokens[before].begin, copy.bytes, copy.size);
  }
}

// Puts the tensors one behind the other in the order of the header, with the sizes that their offsets have, and makes
// the data as long as they are together: after other changes that is what keeps a file whole.
static void tile(void) {
  uint64_t end = 0;
  for (int at = 0; at + 6 < token_count; ++at) {
    const char* text = header.bytes + tokens[at].begin;
    if (tokens[at].kind != '"' || tokens[at].end - tokens[at].begin != 14 || memcmp(text, "\"data_offsets\"", 14) != 0)
      continue;
    int close = at;
    while (close < token_count && tokens[close].kind != ']') ++close;
    if (close == token_count) return;
    const size_t begin = tokens[at].end, length = tokens[close].begin - begin;
    unsigned long long from = 0, to = 0;
    char offsets[80];
    snprintf(offsets, sizeof offsets, "%.*s", (int)(length < 79 ? length : 79), header.bytes + begin);
    if (sscanf(offsets, " : [ %llu , %llu", &from, &to) != 2 || to < from || to - from > MAX_DATA) continue;
    char with[64];
    snprintf(with, sizeof with, ":[%llu,%llu", (unsigned long long)end, (unsigned long long)(end + to - from));
    end += to - from;
    splice(&header, begin, begin + length, with, strlen(with));
    read_tokens();
  }
  if (end > MAX_DATA) end = MAX_DATA;
  if (end > data_size) memset(data + data_size, 0, (size_t)end - data_size);
  data_size = (size_t)end;
}

static void change_data(void) {
  static const uint32_t values[] = {0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000,
                                    0x7FC00000, 0x7F7FFFFF, 0x00000001, 0x80000001, 0x60000000, 0xE0000000};
  switch (below(8)) {
    case 0:
      data_size = LLVMFuzzerMutate(data, data_size, MAX_DATA);
      break;
    case 1: {
      const size_t by = below(9);
      if (data_size + by <= MAX_DATA && chance(2)) {
        memset(data + data_size, 0, by);
        data_size += by;
      } else {
        data_size -= by < data_size ? by : data_size;
      }
      break;
    }
    default:
      if (data_size < 4) return;
      for (uint32_t i = 0, count = 1 + below(3); i < count; ++i) {
        const uint32_t value = PICK(values);
        memcpy(data + 4 * (size_t)below((uint32_t)(data_size / 4)), &value, sizeof value);
      }
  }
}

// ---- the file ----

static void take_apart(const uint8_t* bytes, size_t size) {
  uint64_t length = 0;
  for (int i = 0; i < 8; ++i) length |= (uint64_t)bytes[i] << (8 * i);
  if (length > size - 8) length = size - 8;
  if (length > MAX_HEADER) length = MAX_HEADER;
  header.size = (size_t)length;
  memcpy(header.bytes, bytes + 8, header.size);
  data_size = size - 8 - header.size;
  if (data_size > MAX_DATA) data_size = MAX_DATA;
  memcpy(data, bytes + 8 + header.size, data_size);
}

static size_t put_together(uint8_t* bytes, size_t max) {
  uint64_t length = header.size;
  if (chance(40)) length += below(9) - 4u;
  if (chance(200)) length = ~(uint64_t)0 - below(20);
  size_t size = 0;
  for (int i = 0; i < 8 && size < max; ++i) bytes[size++] = (uint8_t)(length >> (8 * i));
  const size_t text = header.size < max - size ? header.size : max - size;
  memcpy(bytes + size, header.bytes, text);
  size += text;
  const size_t rest = data_size < max - size ? data_size : max - size;
  memcpy(bytes + size, data, rest);
  return size + rest;
}

size_t mutate_file(uint8_t* bytes, size_t size, size_t max, unsigned seed) {
  random_seed = seed;
  random_index = 0;
  if (size > 8 && chance(20)) return LLVMFuzzerMutate(bytes, size, max);
  if (size <= 8) {
    make_file();
    if (!chance(3)) return put_together(bytes, max);
  } else {
    take_apart(bytes, size);
  }
  for (uint32_t i = 0, count = chance(2) ? 1 : 1 + below(3); i < count; ++i) {
    read_tokens();
    switch (below(8)) {
      case 0:
      case 1:
        change_string();
        break;
      case 2:
        change_number();
        break;
      case 3:
        change_tokens();
        break;
      case 4:
        change_members();
        break;
      case 5:
        header.size = LLVMFuzzerMutate((uint8_t*)header.bytes, header.size, MAX_HEADER);
        break;
      default:
        change_data();
    }
  }
  if (chance(3)) {
    read_tokens();
    tile();
  }
  return put_together(bytes, max);
}
