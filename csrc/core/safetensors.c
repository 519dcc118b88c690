// One reader and one writer of the safetensors container. The reader's grammar is exactly that of the format, so its
// depth is fixed and nothing recurses on input:
//
//   header  { "__metadata__": { key: string, ... }, name: tensor, ... } and spaces after it
//   tensor  { "dtype": string, "shape": [integer, ...], "data_offsets": [begin, end] }, in any order, each once
//
// It runs twice over the header: first to check everything and count, keeping nothing, then to fill an index of just
// the right size. The index is smaller than the header that it describes, whatever that says, so no file makes the
// reader allocate more than the file's own size:
//
//   a tensor    takes sizeof(record) = 48 bytes, its name and a 0; the header spends at least 50 bytes beside the name
//   an entry    of the metadata takes 4 bytes, key, value and two 0; the header spends at least 6 beside key and value
//
// (an escape is never shorter than what it stands for).
#include "safetensors.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OP_PARSE "safetensors.parse"
#define OP_WRITE "safetensors.write"

// The limit of the format's reference implementation.
static const uint64_t kMaxHeader = 100000000;
static const char kMetadata[] = "__metadata__";

static const struct {
  const char* name;
  size_t bytes;
} kDtypes[BW_DTYPE_COUNT] = {
    [BW_F32] = {"F32", 4},   [BW_F64] = {"F64", 8}, [BW_F16] = {"F16", 2}, [BW_BF16] = {"BF16", 2},
    [BW_I64] = {"I64", 8},   [BW_I32] = {"I32", 4}, [BW_I16] = {"I16", 2}, [BW_I8] = {"I8", 1},
    [BW_U64] = {"U64", 8},   [BW_U32] = {"U32", 4}, [BW_U16] = {"U16", 2}, [BW_U8] = {"U8", 1},
    [BW_BOOL] = {"BOOL", 1},
};

static bool is_dtype(int dtype) { return dtype >= 0 && dtype < BW_DTYPE_COUNT; }
const char* bw_dtype_name(bw_dtype dtype) { return is_dtype((int)dtype) ? kDtypes[dtype].name : "unknown"; }
size_t bw_dtype_bytes(bw_dtype dtype) { return is_dtype((int)dtype) ? kDtypes[dtype].bytes : 0; }

// A BW_CHECKPOINT failure at `path`: a tensor's name (quotes stand for the empty one) or a part of the header.
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static bw_status
refuse(bw_error* error, const char* op, const char* path, const char* format, ...) {
  char text[256];
  if (!path[0]) path = "\"\"";
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  bw_fail(error, BW_CHECKPOINT, op, "%.96s: %s", path, text);
  if (error) snprintf(error->path, sizeof error->path, "%s", path);
  return BW_CHECKPOINT;
}

// Bytes of the UTF-8 sequence that begins at s, of at most `available` bytes; 0 if it is not valid (overlong forms,
// surrogates and numbers above U+10FFFF are not).
static size_t utf8_length(const uint8_t* s, size_t available) {
  if (available == 0) return 0;
  if (s[0] < 0x80) return 1;
  const size_t length = s[0] >= 0xC2 && s[0] < 0xE0   ? 2
                        : (s[0] & 0xF0) == 0xE0       ? 3
                        : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                      : 0;
  if (length == 0 || length > available) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((s[i] & 0xC0) != 0x80) return 0;
  }
  if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F)) return 0;
  if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
  return length;
}

// Bytes of a tensor of this shape; false when a size is negative or the product of those that are not 0 does not fit.
// That such a shape is refused even where a 0 makes the tensor empty is how array libraries have it.
static bool tensor_bytes(bw_dtype dtype, int rank, const int64_t* shape, uint64_t* bytes) {
  uint64_t product = kDtypes[dtype].bytes;
  bool empty = false;
  for (int i = 0; i < rank; ++i) {
    if (shape[i] < 0) return false;
    empty = empty || shape[i] == 0;
    if (shape[i] == 0) continue;
    if (product > (uint64_t)INT64_MAX / (uint64_t)shape[i]) return false;
    product *= (uint64_t)shape[i];
  }
  *bytes = empty ? 0 : product;
  return true;
}

// ---- reading ----

// What the index keeps of a tensor.
typedef struct bw_tensor_record {
  int64_t shape[BW_TENSOR_MAX_RANK];
  uint64_t begin;  // of its data, in the data section
  uint32_t name;   // where its name begins in the text
  uint8_t dtype;
  uint8_t rank;
} record;
_Static_assert(sizeof(record) == 48, "the bound on the index above counts with this size");

typedef struct reader {
  const uint8_t* bytes;  // the header
  size_t size;
  size_t at;
  char* text;  // decoded names, keys and values, each ended by 0; NULL while they are only counted
  size_t text_size;
  size_t text_used;
  uint64_t data_size;
  bw_error* error;
} reader;

// Where a decoded string goes: what is beyond the room is counted only.
typedef struct sink {
  char* bytes;
  size_t room;
  size_t length;
} sink;

// Room for a string of which no more is needed than to tell it from the format's words, and to show it in a message.
enum { SHOWN = 128 };

static bw_status syntax(const reader* r, const char* problem) {
  return refuse(r->error, OP_PARSE, "header", "%s at byte %zu of the header", problem, r->at);
}

static void skip_space(reader* r) {
  while (r->at < r->size) {
    const uint8_t c = r->bytes[r->at];
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return;
    ++r->at;
  }
}

// Takes `c` if it is the next character after white space.
static bool take(reader* r, char c) {
  skip_space(r);
  if (r->at >= r->size || r->bytes[r->at] != (uint8_t)c) return false;
  ++r->at;
  return true;
}

static bw_status expect(reader* r, char c) {
  if (take(r, c)) return BW_OK;
  char problem[24];
  snprintf(problem, sizeof problem, "expected '%c'", c);
  return syntax(r, problem);
}

// Before the next element of a list or object: *more is false at the closing character, which is taken.
static bw_status next_element(reader* r, char close, bool first, bool* more) {
  *more = false;
  if (take(r, close)) return BW_OK;
  if (!first) BW_TRY(expect(r, ','));
  *more = true;
  return BW_OK;
}

// The four digits of \uXXXX.
static bool read_hex4(reader* r, uint32_t* value) {
  if (r->size - r->at < 4) return false;
  *value = 0;
  for (int i = 0; i < 4; ++i) {
    const uint8_t c = r->bytes[r->at + (size_t)i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return false;
    *value = *value << 4 | (uint32_t)digit;
  }
  r->at += 4;
  return true;
}

static void emit(sink* out, uint32_t byte) {
  if (out->length < out->room) out->bytes[out->length] = (char)byte;
  ++out->length;
}

static void emit_utf8(sink* out, uint32_t code) {
  if (code < 0x80) {
    emit(out, code);
  } else if (code < 0x800) {
    emit(out, 0xC0 | code >> 6);
    emit(out, 0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    emit(out, 0xE0 | code >> 12);
    emit(out, 0x80 | (code >> 6 & 0x3F));
    emit(out, 0x80 | (code & 0x3F));
  } else {
    emit(out, 0xF0 | code >> 18);
    emit(out, 0x80 | (code >> 12 & 0x3F));
    emit(out, 0x80 | (code >> 6 & 0x3F));
    emit(out, 0x80 | (code & 0x3F));
  }
}

// What follows a backslash.
static bw_status read_escape(reader* r, sink* out) {
  static const char kinds[] = "\"\\/bfnrt";
  static const char values[] = "\"\\/\b\f\n\r\t";
  const char kind = r->at < r->size ? (char)r->bytes[r->at] : 0;
  const char* found = kind ? strchr(kinds, kind) : NULL;
  if (found) {
    ++r->at;
    emit(out, (uint8_t)values[found - kinds]);
    return BW_OK;
  }
  if (kind != 'u') return syntax(r, "unknown escape");
  ++r->at;
  uint32_t code, low;
  if (!read_hex4(r, &code)) return syntax(r, "\\u needs four hexadecimal digits");
  if (code == 0) return syntax(r, "a string holds the character 0");
  if (code >= 0xDC00 && code <= 0xDFFF) return syntax(r, "half a surrogate pair");
  if (code >= 0xD800 && code <= 0xDBFF) {
    if (r->size - r->at < 2 || r->bytes[r->at] != '\\' || r->bytes[r->at + 1] != 'u')
      return syntax(r, "half a surrogate pair");
    r->at += 2;
    if (!read_hex4(r, &low) || low < 0xDC00 || low > 0xDFFF) return syntax(r, "half a surrogate pair");
    code = 0x10000 + ((code - 0xD800) << 10 | (low - 0xDC00));
  }
  emit_utf8(out, code);
  return BW_OK;
}

// Decodes a string; out->length then counts its bytes and the 0 that ends it, and so does what fits into the room.
static bw_status read_string(reader* r, sink* out) {
  BW_TRY(expect(r, '"'));
  while (r->at < r->size) {
    const uint8_t c = r->bytes[r->at];
    if (c == '"') {
      ++r->at;
      emit(out, 0);
      out->bytes[(out->length < out->room ? out->length : out->room) - 1] = 0;
      return BW_OK;
    }
    if (c < 0x20) return syntax(r, "a control character in a string");
    if (c == '\\') {
      ++r->at;
      BW_TRY(read_escape(r, out));
      continue;
    }
    const size_t length = utf8_length(r->bytes + r->at, r->size - r->at);
    if (length == 0) return syntax(r, "not UTF-8");
    for (size_t i = 0; i < length; ++i) emit(out, r->bytes[r->at++]);
  }
  return syntax(r, "a string without end");
}

// A string that goes no further than this: as much as is shown of it.
static bw_status read_word(reader* r, char word[SHOWN]) {
  sink out = {.bytes = word, .room = SHOWN};
  return read_string(r, &out);
}

// A string that the index keeps: *kept is where it lies in the text or, while that is only counted, `word`.
static bw_status read_text(reader* r, char word[SHOWN], const char** kept) {
  sink out = {.bytes = word, .room = SHOWN};
  if (r->text) out = (sink){.bytes = r->text + r->text_used, .room = r->text_size - r->text_used};
  BW_TRY(read_string(r, &out));
  *kept = out.bytes;
  r->text_used += out.length;
  return BW_OK;
}

// A whole number from 0 to INT64_MAX, as JSON writes it: no sign, fraction, exponent or leading zero.
static bw_status read_integer(reader* r, int64_t* out) {
  skip_space(r);
  const size_t begin = r->at;
  int64_t value = 0;
  for (; r->at < r->size && r->bytes[r->at] >= '0' && r->bytes[r->at] <= '9'; ++r->at) {
    const int digit = r->bytes[r->at] - '0';
    if (value > (INT64_MAX - digit) / 10) return syntax(r, "a number too large");
    value = value * 10 + digit;
  }
  const size_t digits = r->at - begin;
  if (digits == 0 || (digits > 1 && r->bytes[begin] == '0')) {
    r->at = begin;
    return syntax(r, "expected a whole number");
  }
  *out = value;
  return BW_OK;
}

// A list of integers; *count may exceed max by one, then there were more than max, of which no more are stored.
static bw_status read_integers(reader* r, int64_t* values, int max, int* count) {
  BW_TRY(expect(r, '['));
  *count = 0;
  for (bool more = true;;) {
    BW_TRY(next_element(r, ']', *count == 0, &more));
    if (!more) return BW_OK;
    int64_t value = 0;
    BW_TRY(read_integer(r, &value));
    if (*count < max) values[*count] = value;
    if (*count <= max) ++*count;
  }
}

static bw_status read_tensor(reader* r, const char* name, record* tensor) {
  enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
  int seen = 0, rank = 0, offset_count = 0;
  int64_t offsets[2] = {0, 0};
  char key[SHOWN], dtype[SHOWN] = "";
  BW_TRY(expect(r, '{'));
  for (bool first = true, more = true;; first = false) {
    BW_TRY(next_element(r, '}', first, &more));
    if (!more) break;
    BW_TRY(read_word(r, key));
    BW_TRY(expect(r, ':'));
    const int field = strcmp(key, "dtype") == 0          ? DTYPE
                      : strcmp(key, "shape") == 0        ? SHAPE
                      : strcmp(key, "data_offsets") == 0 ? OFFSETS
                                                         : 0;
    if (!field) return refuse(r->error, OP_PARSE, name, "unknown field \"%.60s\"", key);
    if (seen & field) return refuse(r->error, OP_PARSE, name, "\"%s\" stands there twice", key);
    seen |= field;
    if (field == DTYPE) BW_TRY(read_word(r, dtype));
    if (field == SHAPE) BW_TRY(read_integers(r, tensor->shape, BW_TENSOR_MAX_RANK, &rank));
    if (field == OFFSETS) BW_TRY(read_integers(r, offsets, 2, &offset_count));
  }
  if (seen != (DTYPE | SHAPE | OFFSETS)) {
    return refuse(r->error, OP_PARSE, name, "dtype, shape or data_offsets is missing");
  }
  if (rank > BW_TENSOR_MAX_RANK) {
    return refuse(r->error, OP_PARSE, name, "more than %d dimensions", BW_TENSOR_MAX_RANK);
  }
  int known = 0;
  while (known < BW_DTYPE_COUNT && strcmp(dtype, kDtypes[known].name) != 0) ++known;
  if (known == BW_DTYPE_COUNT) return refuse(r->error, OP_PARSE, name, "unknown dtype \"%.60s\"", dtype);
  if (offset_count != 2 || offsets[0] > offsets[1]) {
    return refuse(r->error, OP_PARSE, name, "data_offsets must be [begin, end]");
  }
  if ((uint64_t)offsets[1] > r->data_size) {
    return refuse(r->error, OP_PARSE, name, "its data ends at byte %lld, and the file holds %llu bytes of data",
                  (long long)offsets[1], (unsigned long long)r->data_size);
  }
  uint64_t bytes;
  if (!tensor_bytes((bw_dtype)known, rank, tensor->shape, &bytes)) {
    return refuse(r->error, OP_PARSE, name, "its shape overflows");
  }
  if (bytes != (uint64_t)(offsets[1] - offsets[0])) {
    return refuse(r->error, OP_PARSE, name, "dtype and shape need %llu bytes, data_offsets span %lld",
                  (unsigned long long)bytes, (long long)(offsets[1] - offsets[0]));
  }
  tensor->begin = (uint64_t)offsets[0];
  tensor->dtype = (uint8_t)known;
  tensor->rank = (uint8_t)rank;
  return BW_OK;
}

static bw_status read_metadata(reader* r, bw_safetensors* file) {
  char word[SHOWN];
  BW_TRY(expect(r, '{'));
  for (bool first = true, more = true;; first = false) {
    BW_TRY(next_element(r, '}', first, &more));
    if (!more) return BW_OK;
    const uint32_t place = (uint32_t)r->text_used;
    const char *key, *value;
    BW_TRY(read_text(r, word, &key));
    BW_TRY(expect(r, ':'));
    BW_TRY(read_text(r, word, &value));
    if (r->text) file->entries[file->metadata_count] = place;
    ++file->metadata_count;
  }
}

// Reads the whole header: counts tensors, metadata and text, and keeps them where r->text is set.
static bw_status read_header(reader* r, bw_safetensors* file) {
  bool metadata_seen = false;
  r->at = 0;
  r->text_used = 0;
  file->tensor_count = file->metadata_count = 0;
  if (r->size == 0 || r->bytes[0] != '{') return syntax(r, "expected '{'");
  ++r->at;
  for (bool first = true, more = true;; first = false) {
    BW_TRY(next_element(r, '}', first, &more));
    if (!more) break;
    record tensor = {.name = (uint32_t)r->text_used};
    char word[SHOWN];
    const char* name;
    BW_TRY(read_text(r, word, &name));
    BW_TRY(expect(r, ':'));
    if (strcmp(name, kMetadata) == 0) {
      if (metadata_seen) return refuse(r->error, OP_PARSE, kMetadata, "stands there twice");
      metadata_seen = true;
      BW_TRY(read_metadata(r, file));
      continue;
    }
    BW_TRY(read_tensor(r, name, &tensor));
    if (r->text) file->tensors[file->tensor_count] = tensor;
    ++file->tensor_count;
  }
  skip_space(r);
  if (r->at != r->size) return syntax(r, "something follows the closing '}'");
  return BW_OK;
}

// The order of two elements; `text` is what their names are in.
typedef int (*order)(const char* text, const void* a, const void* b);

// Heap sort: n log n comparisons on any input, in place. qsort promises neither, and what it sorts here is a
// stranger's. Elements have no more bytes than a record.
static void sort(void* elements, size_t count, size_t size, const char* text, order compare) {
  char* at = elements;
  char held[sizeof(record)];
  for (size_t end = count, begin = count / 2; end > 1;) {
    // First the heap is made from its last parents to the root, then its greatest goes to the end, again and again.
    if (begin > 0) {
      --begin;
    } else {
      --end;
      memcpy(held, at, size);
      memcpy(at, at + end * size, size);
      memcpy(at + end * size, held, size);
    }
    for (size_t parent = begin, child; (child = 2 * parent + 1) < end; parent = child) {
      if (child + 1 < end && compare(text, at + child * size, at + (child + 1) * size) < 0) ++child;
      if (compare(text, at + parent * size, at + child * size) >= 0) break;
      memcpy(held, at + parent * size, size);
      memcpy(at + parent * size, at + child * size, size);
      memcpy(at + child * size, held, size);
    }
  }
}

static int compare_numbers(uint64_t a, uint64_t b) { return a < b ? -1 : a > b; }

static int by_name(const char* text, const void* a, const void* b) {
  return strcmp(text + ((const record*)a)->name, text + ((const record*)b)->name);
}

static int by_key(const char* text, const void* a, const void* b) {
  return strcmp(text + *(const uint32_t*)a, text + *(const uint32_t*)b);
}

static uint64_t record_bytes(const record* tensor) {
  uint64_t bytes = 0;
  tensor_bytes((bw_dtype)tensor->dtype, tensor->rank, tensor->shape, &bytes);
  return bytes;
}

// Texts lie in the order of the header: the order of what begins at the same byte, and of metadata.
static int by_data(const char* text, const void* a, const void* b) {
  (void)text;
  const record* x = a;
  const record* y = b;
  if (x->begin != y->begin) return compare_numbers(x->begin, y->begin);
  // An empty tensor stands before the one that begins at the same byte.
  const bool x_empty = record_bytes(x) == 0, y_empty = record_bytes(y) == 0;
  if (x_empty != y_empty) return x_empty ? -1 : 1;
  return compare_numbers(x->name, y->name);
}

static int by_place(const char* text, const void* a, const void* b) {
  (void)text;
  return compare_numbers(*(const uint32_t*)a, *(const uint32_t*)b);
}

// Names are unique and the tensors tile the data. Leaves tensors in the order of their data.
static bw_status check_file(const reader* r, bw_safetensors* file) {
  record* tensors = file->tensors;
  uint32_t* entries = file->entries;
  const char* text = file->text;
  const size_t tensor_count = (size_t)file->tensor_count, entry_count = (size_t)file->metadata_count;
  sort(entries, entry_count, sizeof *entries, text, by_key);
  for (size_t i = 1; i < entry_count; ++i) {
    if (by_key(text, &entries[i - 1], &entries[i]) == 0) {
      return refuse(r->error, OP_PARSE, kMetadata, "the key \"%.96s\" stands there twice", text + entries[i]);
    }
  }
  sort(entries, entry_count, sizeof *entries, text, by_place);
  sort(tensors, tensor_count, sizeof *tensors, text, by_name);
  for (size_t i = 1; i < tensor_count; ++i) {
    if (by_name(text, &tensors[i - 1], &tensors[i]) == 0) {
      return refuse(r->error, OP_PARSE, text + tensors[i].name, "two tensors have this name");
    }
  }
  sort(tensors, tensor_count, sizeof *tensors, text, by_data);
  uint64_t end = 0;
  for (size_t i = 0; i < tensor_count; ++i) {
    if (tensors[i].begin != end) {
      return refuse(r->error, OP_PARSE, text + tensors[i].name,
                    "its data begins at byte %llu, and the data before it ends at %llu",
                    (unsigned long long)tensors[i].begin, (unsigned long long)end);
    }
    end += record_bytes(&tensors[i]);
  }
  if (end != r->data_size) {
    return refuse(r->error, OP_PARSE, "data", "the tensors end at byte %llu, and the file holds %llu bytes of data",
                  (unsigned long long)end, (unsigned long long)r->data_size);
  }
  return BW_OK;
}

static bw_status parse(reader* r, bw_safetensors* file) {
  BW_TRY(read_header(r, file));
  const size_t tensors = (size_t)file->tensor_count * sizeof(record);
  const size_t entries = (size_t)file->metadata_count * sizeof(uint32_t);
  const size_t size = tensors + entries + r->text_used + 1;  // never 0
  char* storage = malloc(size);
  if (!storage) return bw_fail_memory(r->error, OP_PARSE, "the header", size, 0);
  file->tensors = (record*)(void*)storage;
  file->entries = (uint32_t*)(void*)(storage + tensors);
  file->text = r->text = storage + tensors + entries;
  r->text_size = r->text_used;
  BW_TRY(read_header(r, file));
  return check_file(r, file);
}

bw_status bw_safetensors_parse(const uint8_t* bytes, size_t size, bw_safetensors* file, bw_error* error) {
  *file = (bw_safetensors){0};
  if (size < 8) return refuse(error, OP_PARSE, "header", "the file has %zu bytes, too few for a header", size);
  uint64_t header = 0;
  for (int i = 0; i < 8; ++i) header |= (uint64_t)bytes[i] << (8 * i);
  if (header > size - 8 || header > kMaxHeader) {
    return refuse(
        error, OP_PARSE, "header",
        "its length is given as %llu bytes, and the file has %zu: no checkpoint or policy file, or a damaged one",
        (unsigned long long)header, size);
  }
  file->data = bytes + 8 + header;
  reader r = {.bytes = bytes + 8, .size = (size_t)header, .data_size = size - 8 - header, .error = error};
  const bw_status status = parse(&r, file);
  if (status != BW_OK) bw_safetensors_free(file);
  return status;
}

void bw_safetensors_free(bw_safetensors* file) {
  if (!file) return;
  free(file->tensors);
  *file = (bw_safetensors){0};
}

bw_tensor bw_safetensors_tensor(const bw_safetensors* file, int at) {
  const record* found = &file->tensors[at];
  bw_tensor tensor = {.name = file->text + found->name,
                      .dtype = (bw_dtype)found->dtype,
                      .rank = found->rank,
                      .data = file->data + found->begin,
                      .bytes = (size_t)record_bytes(found)};
  memcpy(tensor.shape, found->shape, sizeof tensor.shape);
  return tensor;
}

bw_metadata bw_safetensors_entry(const bw_safetensors* file, int at) {
  const char* key = file->text + file->entries[at];
  return (bw_metadata){.key = key, .value = key + strlen(key) + 1};
}

bool bw_safetensors_find(const bw_safetensors* file, const char* name, bw_tensor* tensor) {
  for (int i = 0; i < file->tensor_count; ++i) {
    if (strcmp(file->text + file->tensors[i].name, name) != 0) continue;
    *tensor = bw_safetensors_tensor(file, i);
    return true;
  }
  return false;
}

const char* bw_safetensors_metadata(const bw_safetensors* file, const char* key) {
  for (int i = 0; i < file->metadata_count; ++i) {
    const bw_metadata entry = bw_safetensors_entry(file, i);
    if (strcmp(entry.key, key) == 0) return entry.value;
  }
  return NULL;
}

// ---- writing ----

// Writes at `at` where out is set, counts always: run once to measure, once to write.
typedef struct writer {
  char* out;
  size_t at;
} writer;

static void put(writer* w, const char* text, size_t length) {
  if (w->out) memcpy(w->out + w->at, text, length);
  w->at += length;
}

static void put_text(writer* w, const char* text) { put(w, text, strlen(text)); }

static void put_integer(writer* w, uint64_t value) {
  char text[24];
  snprintf(text, sizeof text, "%llu", (unsigned long long)value);
  put_text(w, text);
}

static void put_string(writer* w, const char* text) {
  put(w, "\"", 1);
  for (const char* c = text; *c; ++c) {
    char escape[8];
    if ((uint8_t)*c < 0x20) {
      snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(uint8_t)*c);
      put_text(w, escape);
    } else {
      if (*c == '"' || *c == '\\') put(w, "\\", 1);
      put(w, c, 1);
    }
  }
  put(w, "\"", 1);
}

static void put_header(writer* w, const bw_tensor* tensors, int tensor_count, const bw_metadata* metadata,
                       int metadata_count) {
  put(w, "{", 1);
  if (metadata_count > 0) {
    put_string(w, kMetadata);
    put(w, ":{", 2);
    for (int i = 0; i < metadata_count; ++i) {
      if (i > 0) put(w, ",", 1);
      put_string(w, metadata[i].key);
      put(w, ":", 1);
      put_string(w, metadata[i].value);
    }
    put(w, "}", 1);
  }
  uint64_t offset = 0;
  for (int i = 0; i < tensor_count; ++i) {
    const bw_tensor* t = &tensors[i];
    if (i > 0 || metadata_count > 0) put(w, ",", 1);
    put_string(w, t->name);
    put_text(w, ":{\"dtype\":");
    put_string(w, kDtypes[t->dtype].name);
    put_text(w, ",\"shape\":[");
    for (int d = 0; d < t->rank; ++d) {
      if (d > 0) put(w, ",", 1);
      put_integer(w, (uint64_t)t->shape[d]);
    }
    put_text(w, "],\"data_offsets\":[");
    put_integer(w, offset);
    put(w, ",", 1);
    offset += t->bytes;
    put_integer(w, offset);
    put_text(w, "]}");
  }
  put(w, "}", 1);
  while (w->at % 8 != 0) put(w, " ", 1);  // the data begins 8-byte aligned
}

static bool is_text(const char* text) {
  if (!text) return false;
  const size_t size = strlen(text);
  for (size_t at = 0; at < size;) {
    const size_t length = utf8_length((const uint8_t*)text + at, size - at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

static int by_text(const void* a, const void* b) { return strcmp(*(char* const*)a, *(char* const*)b); }

// One of the names that stands among them twice, NULL if there is none. Sorts them.
static const char* repeated(const char** names, size_t count) {
  if (count > 0) qsort(names, count, sizeof *names, by_text);
  for (size_t i = 1; i < count; ++i) {
    if (strcmp(names[i - 1], names[i]) == 0) return names[i];
  }
  return NULL;
}

// What the reader would refuse is not written. names: room for as many as there are tensors and metadata entries.
static bw_status check_input(const bw_tensor* tensors, int tensor_count, const bw_metadata* metadata,
                             int metadata_count, const char** names, uint64_t* data_bytes, bw_error* error) {
  *data_bytes = 0;
  for (int i = 0; i < metadata_count; ++i) {
    if (!is_text(metadata[i].key) || !is_text(metadata[i].value)) {
      return refuse(error, OP_WRITE, kMetadata, "entry %d is not UTF-8 text", i);
    }
    names[i] = metadata[i].key;
  }
  const char* twice = repeated(names, (size_t)metadata_count);
  if (twice) return refuse(error, OP_WRITE, kMetadata, "the key \"%.96s\" is given twice", twice);
  for (int i = 0; i < tensor_count; ++i) {
    const bw_tensor* t = &tensors[i];
    if (!is_text(t->name)) return refuse(error, OP_WRITE, "tensors", "the name of tensor %d is not UTF-8 text", i);
    if (strcmp(t->name, kMetadata) == 0) return refuse(error, OP_WRITE, t->name, "no tensor can have this name");
    names[i] = t->name;
    uint64_t bytes;
    if (!is_dtype((int)t->dtype) || t->rank < 0 || t->rank > BW_TENSOR_MAX_RANK ||
        !tensor_bytes(t->dtype, t->rank, t->shape, &bytes) || bytes != t->bytes || (bytes > 0 && !t->data)) {
      return refuse(error, OP_WRITE, t->name, "dtype, shape and size do not go together");
    }
    if (bytes > (uint64_t)INT64_MAX - *data_bytes) return refuse(error, OP_WRITE, t->name, "the sizes overflow");
    *data_bytes += bytes;
  }
  twice = repeated(names, (size_t)tensor_count);
  if (twice) return refuse(error, OP_WRITE, twice, "the name is given twice");
  return BW_OK;
}

bw_status bw_safetensors_write(const bw_tensor* tensors, int tensor_count, const bw_metadata* metadata,
                               int metadata_count, uint8_t** out, size_t* out_bytes, bw_error* error) {
  *out = NULL;
  *out_bytes = 0;
  const size_t most = (size_t)(tensor_count > metadata_count ? tensor_count : metadata_count);
  const char** names = malloc((most + 1) * sizeof *names);
  if (!names) return bw_fail_memory(error, OP_WRITE, "the names", (most + 1) * sizeof *names, 0);
  uint64_t data_bytes;
  const bw_status status = check_input(tensors, tensor_count, metadata, metadata_count, names, &data_bytes, error);
  free(names);
  BW_TRY(status);
  writer measure = {0};
  put_header(&measure, tensors, tensor_count, metadata, metadata_count);
  if (measure.at > kMaxHeader) {
    return refuse(error, OP_WRITE, "header", "it would have %zu bytes, and the format allows %llu", measure.at,
                  (unsigned long long)kMaxHeader);
  }
  const uint64_t size = 8 + (uint64_t)measure.at + data_bytes;
  uint8_t* bytes = size <= SIZE_MAX ? malloc((size_t)size) : NULL;
  if (!bytes) return bw_fail_memory(error, OP_WRITE, "the file's bytes", size, 0);
  for (int i = 0; i < 8; ++i) bytes[i] = (uint8_t)((uint64_t)measure.at >> (8 * i));
  writer w = {.out = (char*)bytes + 8};
  put_header(&w, tensors, tensor_count, metadata, metadata_count);
  uint8_t* data = bytes + 8 + w.at;
  for (int i = 0; i < tensor_count; ++i) {
    if (tensors[i].bytes > 0) memcpy(data, tensors[i].data, tensors[i].bytes);
    data += tensors[i].bytes;
  }
  *out = bytes;
  *out_bytes = (size_t)size;
  return BW_OK;
}
