// safetensors: round trips, and hostile bytes. Every refused file is parsed from an allocation of exactly its size,
// so that AddressSanitizer sees a read beyond its end.
#include <stddef.h>

#include "../../csrc/core/rng.h"
#include "check.h"

static size_t live, peak;  // bytes allocated

static void* measured_malloc(size_t size) {
  char* memory = malloc(sizeof(max_align_t) + size);
  if (!memory) return NULL;
  memcpy(memory, &size, sizeof size);
  live += size;
  if (live > peak) peak = live;
  return memory + sizeof(max_align_t);
}

static void measured_free(void* memory) {
  if (!memory) return;
  char* begin = (char*)memory - sizeof(max_align_t);
  size_t size;
  memcpy(&size, begin, sizeof size);
  live -= size;
  free(begin);
}

// This copy is linked instead of the library's. The reader is to use these two only: others would not be seen here.
#define malloc measured_malloc
#define free measured_free
#include "../../csrc/core/safetensors.c"

// Parses; never is more allocated than the file's size, and nothing remains after a failure.
static bw_status parse_measured(const uint8_t* bytes, size_t size, bw_safetensors* file, bw_error* error) {
  const size_t before = live;
  peak = live;
  const bw_status status = bw_safetensors_parse(bytes, size, file, error);
  CHECK_MSG(peak - before <= size, "%zu bytes were allocated for a file of %zu", peak - before, size);
  CHECK(status == BW_OK || live == before);
  return status;
}

// Parses a copy that ends where its allocation ends.
static bw_status parse_copy(const uint8_t* bytes, size_t size, bw_safetensors* file, uint8_t** copy, bw_error* error) {
  *copy = malloc(size ? size : 1);
  REQUIRE(*copy != NULL);
  if (size) memcpy(*copy, bytes, size);
  return parse_measured(*copy, size, file, error);
}

// A file of this header and so many bytes of data.
static uint8_t* compose(const char* header, size_t header_size, size_t data, size_t* size) {
  *size = 8 + header_size + data;
  uint8_t* bytes = malloc(*size);
  REQUIRE(bytes != NULL);
  memset(bytes, 0, *size);
  for (int i = 0; i < 8; ++i) bytes[i] = (uint8_t)((uint64_t)header_size >> (8 * i));
  memcpy(bytes + 8, header, header_size);
  return bytes;
}

static void accepts(const char* header, size_t data, int tensors, int metadata) {
  size_t size;
  uint8_t* bytes = compose(header, strlen(header), data, &size);
  bw_safetensors file;
  bw_error error = {0};
  const bw_status status = parse_measured(bytes, size, &file, &error);
  if (CHECK_MSG(status == BW_OK, "refused: %s: %s", header, error.message)) {
    CHECK_EQ_INT(file.tensor_count, tensors);
    CHECK_EQ_INT(file.metadata_count, metadata);
    bw_safetensors_free(&file);
  }
  free(bytes);
}

static void refuses_bytes(const uint8_t* bytes, size_t size, const char* path, const char* hint, const char* what) {
  bw_safetensors file;
  bw_error error;
  memset(&file, 0x5A, sizeof file);
  memset(&error, 0x5A, sizeof error);
  uint8_t* copy;
  const bw_status status = parse_copy(bytes, size, &file, &copy, &error);
  if (!CHECK_MSG(status == BW_CHECKPOINT, "accepted: %.200s", what)) {
    if (status == BW_OK) bw_safetensors_free(&file);
    free(copy);
    return;
  }
  CHECK(error.status == BW_CHECKPOINT);
  CHECK(error.message[0] != 0);
  if (path) CHECK_MSG(strcmp(error.path, path) == 0, "%.200s: path \"%s\", not \"%s\"", what, error.path, path);
  CHECK_MSG(strstr(error.message, hint) != NULL, "%.200s: \"%s\" does not say \"%s\"", what, error.message, hint);
  CHECK(file.tensors == NULL && file.tensor_count == 0);            // nothing to free
  CHECK(parse_measured(copy, size, &file, NULL) == BW_CHECKPOINT);  // without an error record too
  free(copy);
}

static void refuses(const char* header, size_t data, const char* path, const char* hint) {
  size_t size;
  uint8_t* bytes = compose(header, strlen(header), data, &size);
  refuses_bytes(bytes, size, path, hint, header);
  free(bytes);
}

static uint8_t* sample(size_t* size) {
  static const float weights[6] = {1, -2, 3.5f, 0, 1e-30f, -0.0f};
  static const uint8_t mask[3] = {1, 0, 1};
  static const int64_t counters[2] = {INT64_MIN, INT64_MAX};
  static const double scalar = 0.1;
  const bw_tensor tensors[] = {
      {.name = "layer.0.weight", .dtype = BW_F32, .rank = 2, .shape = {2, 3}, .data = weights, .bytes = sizeof weights},
      {.name = "counters", .dtype = BW_I64, .rank = 1, .shape = {2}, .data = counters, .bytes = sizeof counters},
      {.name = "empty", .dtype = BW_BF16, .rank = 3, .shape = {4, 0, 9}, .data = NULL, .bytes = 0},
      {.name = "scalar \"\\/\t\x01 \xC3\xBC \xF0\x9F\x98\x80", .dtype = BW_F64, .rank = 0, .data = &scalar, .bytes = 8},
      {.name = "mask", .dtype = BW_BOOL, .rank = 4, .shape = {1, 3, 1, 1}, .data = mask, .bytes = 3},
      {.name = "", .dtype = BW_U8, .rank = 1, .shape = {0}, .data = NULL, .bytes = 0},
  };
  const bw_metadata metadata[] = {
      {.key = "zeta", .value = "{\"ppo.clip\": 0.2}\n"}, {.key = "alpha", .value = ""}, {.key = "", .value = "\x7F"}};
  uint8_t* bytes;
  bw_error error = {0};
  const bw_status status = bw_safetensors_write(tensors, 6, metadata, 3, &bytes, size, &error);
  if (!CHECK_MSG(status == BW_OK, "write: %s", error.message)) exit(check_summary("safetensors"));
  return bytes;
}

static void test_round_trip(void) {
  size_t size, again_size;
  uint8_t* bytes = sample(&size);
  uint8_t* again = sample(&again_size);
  CHECK_EQ_INT(size, again_size);
  CHECK_BYTES(bytes, again, size);
  free(again);
  uint64_t header = 0;
  for (int i = 0; i < 8; ++i) header |= (uint64_t)bytes[i] << (8 * i);
  CHECK_EQ_INT((8 + header) % 8, 0);
  CHECK_EQ_INT(size, 8 + header + 24 + 16 + 8 + 3);
  CHECK(bytes[8] == '{');

  bw_safetensors file;
  bw_error error;
  REQUIRE(parse_measured(bytes, size, &file, &error) == BW_OK);
  REQUIRE(file.tensor_count == 6 && file.metadata_count == 3);
  static const char* const names[] = {
      "layer.0.weight", "counters", "empty", "scalar \"\\/\t\x01 \xC3\xBC \xF0\x9F\x98\x80", "mask", ""};
  for (int i = 0; i < 6; ++i) CHECK_EQ_STR(bw_safetensors_tensor(&file, i).name, names[i]);  // the order of writing
  bw_tensor t;
  REQUIRE(bw_safetensors_find(&file, "layer.0.weight", &t));
  CHECK(t.dtype == BW_F32 && t.rank == 2 && t.shape[0] == 2 && t.shape[1] == 3 && t.bytes == 24);
  CHECK((const uint8_t*)t.data == bytes + 8 + header);
  float weights[6];
  memcpy(weights, t.data, sizeof weights);
  CHECK(weights[0] == 1 && weights[1] == -2 && weights[4] == 1e-30f && signbit(weights[5]));
  REQUIRE(bw_safetensors_find(&file, names[3], &t));
  double scalar;
  memcpy(&scalar, t.data, sizeof scalar);
  CHECK(t.rank == 0 && t.dtype == BW_F64 && t.bytes == 8 && scalar == 0.1);
  REQUIRE(bw_safetensors_find(&file, "empty", &t));
  CHECK(t.rank == 3 && t.shape[0] == 4 && t.shape[1] == 0 && t.shape[2] == 9 && t.bytes == 0);
  CHECK(!bw_safetensors_find(&file, "layer.0.weigh", &t));
  CHECK(!bw_safetensors_find(&file, "__metadata__", &t));
  CHECK_EQ_STR(bw_safetensors_metadata(&file, "zeta"), "{\"ppo.clip\": 0.2}\n");
  CHECK_EQ_STR(bw_safetensors_metadata(&file, "alpha"), "");
  CHECK_EQ_STR(bw_safetensors_metadata(&file, ""), "\x7F");
  CHECK(bw_safetensors_metadata(&file, "Zeta") == NULL);
  CHECK_EQ_STR(bw_safetensors_entry(&file, 0).key, "zeta");  // the order of writing
  bw_safetensors_free(&file);
  CHECK(file.tensors == NULL && file.tensor_count == 0);
  bw_safetensors_free(&file);  // twice is allowed
  bw_safetensors_free(NULL);
  free(bytes);

  // Nothing at all is a file as well.
  REQUIRE(bw_safetensors_write(NULL, 0, NULL, 0, &bytes, &size, &error) == BW_OK);
  REQUIRE(parse_measured(bytes, size, &file, &error) == BW_OK);
  CHECK(file.tensor_count == 0 && file.metadata_count == 0);
  CHECK(!bw_safetensors_find(&file, "", &t) && bw_safetensors_metadata(&file, "") == NULL);
  bw_safetensors_free(&file);
  free(bytes);
}

static void test_dtypes(void) {
  static const struct {
    bw_dtype dtype;
    const char* name;
    size_t bytes;
  } all[] = {{BW_F32, "F32", 4}, {BW_F64, "F64", 8}, {BW_F16, "F16", 2},  {BW_BF16, "BF16", 2}, {BW_I64, "I64", 8},
             {BW_I32, "I32", 4}, {BW_I16, "I16", 2}, {BW_I8, "I8", 1},    {BW_U64, "U64", 8},   {BW_U32, "U32", 4},
             {BW_U16, "U16", 2}, {BW_U8, "U8", 1},   {BW_BOOL, "BOOL", 1}};
  CHECK_EQ_INT(sizeof all / sizeof all[0], BW_DTYPE_COUNT);
  for (size_t i = 0; i < sizeof all / sizeof all[0]; ++i) {
    CHECK_EQ_STR(bw_dtype_name(all[i].dtype), all[i].name);
    CHECK_EQ_INT(bw_dtype_bytes(all[i].dtype), all[i].bytes);
    char header[128];
    snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}", all[i].name,
             3 * all[i].bytes);
    accepts(header, 3 * all[i].bytes, 1, 0);
    snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}", all[i].name,
             3 * all[i].bytes + 1);
    refuses(header, 3 * all[i].bytes + 1, "t", "data_offsets span");
  }
}

#define T(name, dtype, shape, begin, end) \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void test_accepted(void) {
  accepts("{}", 0, 0, 0);
  accepts("{}   ", 0, 0, 0);
  accepts("{\"__metadata__\":{}}", 0, 0, 0);
  accepts("{" T("a", "I8", "[]", 0, 1) "}", 1, 1, 0);  // a scalar; and 53 bytes of header are not 8-byte aligned
  accepts("{ \"a\" : { \"shape\" : [ 2 , 2 ] ,\n\"data_offsets\":\t[ 0 ,\r4 ] , \"dtype\" : \"U8\" } } ", 4, 1, 0);
  accepts("{" T("b", "U8", "[2]", 2, 4) "," T("a", "U8", "[2]", 0, 2) "}", 4, 2, 0);  // any order
  accepts("{" T("a", "U8", "[0]", 0, 0) "," T("b", "U8", "[1]", 0, 1) "," T("c", "U8", "[0]", 1, 1) "}", 1, 3, 0);
  accepts("{\"__metadata__\":{\"k\":\"v\",\"l\":\"v\"}," T("a", "U8", "[1]", 0, 1) "}", 1, 1, 2);
  accepts("{" T("a", "U8", "[1]", 0, 1) ",\"\\u005f_metadata__\":{\"k\":\"v\"}}", 1, 1, 1);  // the same key, escaped
  accepts("{" T("a", "U8", "[0,9223372036854775807,0,1]", 0, 0) "}", 0, 1, 0);

  // Data in the order of offsets; names decoded.
  const char* header = "{" T("\\ud83d\\ude00\\u00fc\\n", "U8", "[2]", 2, 4) "," T("a", "U8", "[2]", 0, 2) "}";
  size_t size;
  uint8_t* bytes = compose(header, strlen(header), 4, &size);
  bw_safetensors file;
  REQUIRE(parse_measured(bytes, size, &file, NULL) == BW_OK);
  CHECK_EQ_STR(bw_safetensors_tensor(&file, 0).name, "a");
  const bw_tensor second = bw_safetensors_tensor(&file, 1);
  CHECK_EQ_STR(second.name, "\xF0\x9F\x98\x80\xC3\xBC\n");
  CHECK((const uint8_t*)second.data == bytes + size - 2);
  bw_safetensors_free(&file);
  free(bytes);
}

static void test_structure(void) {
  refuses("", 0, "header", "expected '{'");
  refuses(" {}", 0, "header", "expected '{'");  // the format wants '{' first
  refuses("[]", 0, "header", "expected '{'");
  refuses("{", 0, "header", "expected");
  refuses("{}{}", 0, "header", "follows");
  refuses("{}\v", 0, "header", "follows");
  refuses("{,}", 0, "header", "expected '\"'");
  refuses("{" T("a", "U8", "[1]", 0, 1) ",}", 1, "header", "expected '\"'");
  refuses("{" T("a", "U8", "[1]", 0, 1) T("b", "U8", "[1]", 1, 2) "}", 2, "header", "expected ','");
  refuses("{a:1}", 0, "header", "expected '\"'");
  refuses("{'a':1}", 0, "header", "expected '\"'");
  refuses("{\"a\" 1}", 0, "header", "expected ':'");
  refuses("{\"a\":1}", 0, "header", "expected '{'");
  refuses("{\"a\":null}", 0, "header", "expected '{'");
  refuses("{\"a\":[]}", 0, "header", "expected '{'");
  refuses("{/**/}", 0, "header", "expected");
  refuses("\xEF\xBB\xBF{}", 0, "header", "expected '{'");
  refuses("{\"__metadata__\":[]}", 0, "header", "expected '{'");
  refuses("{\"__metadata__\":{\"a\":1}}", 0, "header", "expected '\"'");
  refuses("{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, "header", "expected '\"'");
  refuses("{\"__metadata__\":{\"a\":\"b\",}}", 0, "header", "expected '\"'");
  refuses("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "__metadata__", "twice");
  refuses("{\"__metadata__\":{\"a\":\"1\",\"\\u0061\":\"2\"}}", 0, "__metadata__", "twice");
  refuses("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__", "twice");
}

static void test_tensors(void) {
  refuses("{\"a\":{}}", 0, "a", "missing");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 1, "a", "missing");
  refuses("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "a", "missing");
  refuses("{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1, "a", "missing");
  refuses("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, "a", "twice");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"stride\":[1]}}", 1, "a", "unknown field");
  refuses("{\"a\":{\"dtype\":8,\"shape\":[],\"data_offsets\":[0,1]}}", 1, "header", "expected '\"'");
  refuses("{" T("a", "f32", "[]", 0, 4) "}", 4, "a", "unknown dtype");
  refuses("{" T("a", "F8_E4M3", "[]", 0, 1) "}", 1, "a", "unknown dtype");
  refuses("{" T("a", "", "[]", 0, 1) "}", 1, "a", "unknown dtype");
  refuses("{" T("a", "U8", "[1,1,1,1,1]", 0, 1) "}", 1, "a", "dimensions");
  refuses("{" T("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "a", "dimensions");
  refuses("{" T("a", "U8", "[[1]]", 0, 1) "}", 1, "header", "whole number");
  refuses("{" T("a", "U8", "{}", 0, 1) "}", 1, "header", "expected '['");
  static const char* const numbers[] = {"-1",
                                        "+1",
                                        "1.0",
                                        "1e0",
                                        "01",
                                        "00",
                                        "0x1",
                                        "\"1\"",
                                        "1 1",
                                        "1,",
                                        ",1",
                                        "",
                                        "9223372036854775808",
                                        "18446744073709551616",
                                        "true",
                                        "NaN",
                                        "1]]",
                                        "- 1"};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; ++i) {
    char header[160];
    if (numbers[i][0]) {
      snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[0,1]}}", numbers[i]);
      refuses(header, 1, "header", "");
    }
    snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,%s]}}", numbers[i]);
    refuses(header, 1, "header", "");
    snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%s,1]}}", numbers[i]);
    refuses(header, 1, "header", "");
  }
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[]}}", 1, "a", "[begin, end]");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "a", "[begin, end]");
  refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, "a", "[begin, end]");
  refuses("{" T("a", "U8", "[1]", 1, 0) "}", 1, "a", "[begin, end]");
}

static void test_offsets(void) {
  refuses("{" T("a", "U8", "[2]", 0, 2) "}", 1, "a", "the file holds 1 bytes");
  refuses("{" T("a", "U8", "[9223372036854775807]", 0, 9223372036854775807) "}", 1, "a", "the file holds");
  refuses("{" T("a", "U8", "[1]", 0, 1) "}", 2, "data", "end at byte 1");  // trailing bytes
  refuses("{}", 1, "data", "end at byte 0");
  refuses("{" T("a", "U8", "[1]", 1, 2) "}", 2, "a", "begins at byte 1");  // a gap before
  refuses("{" T("a", "U8", "[1]", 0, 1) "," T("b", "U8", "[1]", 2, 3) "}", 3, "b", "begins at byte 2");
  refuses("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 1, 3) "}", 3, "b", "begins at byte 1");  // overlap
  refuses("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 0, 2) "}", 2, "b", "begins at byte 0");  // shared
  refuses("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[0]", 1, 1) "}", 2, "b", "begins at byte 1");  // inside
  refuses("{" T("a", "U8", "[1]", 0, 1) "," T("a", "U8", "[1]", 1, 2) "}", 2, "a", "two tensors");
  refuses("{" T("a", "U8", "[1]", 0, 1) "," T("\\u0061", "U8", "[1]", 1, 2) "}", 2, "a", "two tensors");
  refuses("{" T("a", "F32", "[1]", 0, 3) "}", 3, "a", "need 4 bytes");
  refuses("{" T("", "F32", "[1]", 0, 3) "}", 3, "\"\"", "need 4 bytes");  // a path is never empty
  refuses("{" T("a", "F32", "[2]", 0, 4) "}", 4, "a", "need 8 bytes");
  refuses("{" T("a", "F32", "[0]", 0, 4) "}", 4, "a", "need 0 bytes");
  // Products that wrap around 2^64 to the size of the data.
  refuses("{" T("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0, "a", "overflows");
  refuses("{" T("a", "F64", "[2305843009213693953]", 0, 8) "}", 8, "a", "overflows");
  refuses("{" T("a", "F32", "[4611686018427387905]", 0, 4) "}", 4, "a", "overflows");
  refuses("{" T("a", "U8", "[9223372036854775807,9223372036854775807,1,1]", 0, 1) "}", 1, "a", "overflows");
  refuses("{" T("a", "U8", "[4294967296,2147483648,2,1]", 0, 0) "}", 0, "a", "overflows");
  // Nothing is in it, and still no array library can make it.
  refuses("{" T("a", "F32", "[9223372036854775807,0]", 0, 0) "}", 0, "a", "overflows");
  refuses("{" T("a", "U8", "[0,4294967296,4294967296]", 0, 0) "}", 0, "a", "overflows");
}

static void test_strings(void) {
#define META(text) "{\"__metadata__\":{\"a\":\"" text "\"}}"
  accepts(META("\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\uD7FF\\uE000\\uFFFF\\uDBFF\\uDFFF"), 0, 0, 1);
  accepts(META("\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"),
          0, 0, 1);
  static const char* const escapes[] = {"\\x41", "\\a", "\\0",   "\\'",     "\\U0041",
                                        "\\",    "\\u", "\\u12", "\\u123g", "\\u 123"};
  for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; ++i) {
    char header[128];
    snprintf(header, sizeof header, META("%s"), escapes[i]);
    refuses(header, 0, "header", "");
  }
  refuses(META("\\u0000"), 0, "header", "character 0");
  refuses(META("\\ud800"), 0, "header", "surrogate");
  refuses(META("\\udc00"), 0, "header", "surrogate");
  refuses(META("\\ud800\\ud800"), 0, "header", "surrogate");
  refuses(META("\\ud800x"), 0, "header", "surrogate");
  refuses(META("\\ud800\\n"), 0, "header", "surrogate");
  refuses(META("\\ud800\\u0041"), 0, "header", "surrogate");
  refuses(META("\n"), 0, "header", "control character");
  refuses(META("\x1F"), 0, "header", "control character");
  static const char* const broken[] = {"\x80",
                                       "\xBF",
                                       "\xC0\x80",
                                       "\xC1\xBF",
                                       "\xC2",
                                       "\xC2\x41",
                                       "\xC2\xC0",
                                       "\xE0\x80\x80",
                                       "\xE0\x9F\xBF",
                                       "\xE1\x80",
                                       "\xE1\x80\x41",
                                       "\xED\xA0\x80",
                                       "\xED\xBF\xBF",
                                       "\xF0\x80\x80\x80",
                                       "\xF0\x8F\xBF\xBF",
                                       "\xF1\x80\x80",
                                       "\xF1\x80\x80\x41",
                                       "\xF4\x90\x80\x80",
                                       "\xF5\x80\x80\x80",
                                       "\xFE",
                                       "\xFF"};
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; ++i) {
    char header[128];
    snprintf(header, sizeof header, META("%s"), broken[i]);
    refuses(header, 0, "header", "");
    snprintf(header, sizeof header, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", broken[i]);
    refuses(header, 0, "header", "");
  }
  refuses("{\"__metadata__\":{\"a\":\"", 0, "header", "without end");
  refuses("{\"", 0, "header", "without end");
#undef META
  // A raw 0 in a name.
  const char header[] = "{\"a\0b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
  size_t size;
  uint8_t* bytes = compose(header, sizeof header - 1, 0, &size);
  refuses_bytes(bytes, size, "header", "control character", "raw 0");
  free(bytes);
}

static void test_lengths(void) {
  static const uint64_t lengths[] = {3,
                                     100,
                                     100000001,
                                     (uint64_t)1 << 31,
                                     (uint64_t)1 << 32,
                                     (uint64_t)1 << 63,
                                     UINT64_MAX,
                                     UINT64_MAX - 7,
                                     UINT64_MAX - 8};
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; ++i) {
    uint8_t bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    for (int k = 0; k < 8; ++k) bytes[k] = (uint8_t)(lengths[i] >> (8 * k));
    refuses_bytes(bytes, sizeof bytes, "header", "its length", "a header length beyond the file");
  }
  bw_safetensors file;
  CHECK(parse_measured(NULL, 0, &file, NULL) == BW_CHECKPOINT);

  // Cut at every length; with every byte appended or replaced it must not crash (what it says may be either).
  size_t size;
  uint8_t* bytes = sample(&size);
  for (size_t cut = 0; cut < size; ++cut) refuses_bytes(bytes, cut, NULL, "", "a truncated file");
  uint8_t* longer = malloc(size + 1);
  REQUIRE(longer != NULL);
  memcpy(longer, bytes, size);
  longer[size] = 0;
  refuses_bytes(longer, size + 1, "data", "end at byte", "a file with one byte more");
  free(longer);
  static const uint8_t values[] = {0,   ' ', '"', '\\', '{',  '}',  '[',  ']', ',',
                                   ':', '0', '9', 'u',  0x80, 0xC2, 0xF0, 0xFF};
  for (size_t at = 0; at < size; ++at) {
    const uint8_t before = bytes[at];
    for (size_t v = 0; v < sizeof values; ++v) {
      bytes[at] = values[v];
      uint8_t* copy;
      bw_error error;
      const bw_status status = parse_copy(bytes, size, &file, &copy, &error);
      CHECK(status == BW_OK || (status == BW_CHECKPOINT && error.message[0] != 0));
      if (status == BW_OK) bw_safetensors_free(&file);
      free(copy);
    }
    bytes[at] = before;
  }
  // Several random bytes at once.
  for (uint32_t round = 0; round < 20000; ++round) {
    uint8_t* copy = malloc(size);
    REQUIRE(copy != NULL);
    memcpy(copy, bytes, size);
    const bw_random4 draw = bw_philox(1, 0, round, 0);
    for (int k = 0; k < 3; ++k) copy[bw_below(draw.v[k], (uint32_t)size)] = (uint8_t)(draw.v[3] >> (8 * k));
    bw_error error;
    const bw_status status = parse_measured(copy, size, &file, &error);
    CHECK(status == BW_OK || status == BW_CHECKPOINT);
    if (status == BW_OK) bw_safetensors_free(&file);
    free(copy);
  }
  free(bytes);
}

// A header of `count` repetitions.
static void repetition(const char* begin, const char* middle, size_t count, const char* end, bool good) {
  const size_t a = strlen(begin), b = strlen(middle), c = strlen(end);
  char* header = malloc(a + b * count + c + 1);
  REQUIRE(header != NULL);
  memcpy(header, begin, a);
  for (size_t i = 0; i < count; ++i) memcpy(header + a + i * b, middle, b);
  memcpy(header + a + b * count, end, c + 1);
  size_t size;
  uint8_t* bytes = compose(header, a + b * count + c, 0, &size);
  if (good) {
    bw_safetensors file;
    CHECK(parse_measured(bytes, size, &file, NULL) == BW_OK);
    bw_safetensors_free(&file);
  } else {
    refuses_bytes(bytes, size, NULL, "", begin);
  }
  free(bytes);
  free(header);
}

static void test_depth_and_size(void) {
  enum { MANY = 1000000 };
  repetition("{\"a\":", "{\"a\":", MANY, "", false);
  repetition("{\"a\":{\"shape\":", "[", MANY, "", false);
  repetition("{\"a\":{\"junk\":", "[", MANY, "", false);
  repetition("{\"__metadata__\":", "{\"a\":", MANY, "", false);
  repetition("{\"a\":{\"dtype\":\"U8\",\"shape\":[", "1,", MANY, "1],\"data_offsets\":[0,0]}}", false);
  repetition("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0", ",0", MANY, "]}}", false);
  repetition("{\"a\":{\"dtype\":\"U8\",\"shape\":[", "1", MANY, "],\"data_offsets\":[0,0]}}", false);
  repetition("{", " ", MANY, "}", true);
  repetition("{}", " ", MANY, "", true);
  repetition("{\"", "x", MANY, "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", true);
  repetition("{\"", "x", MANY, "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,1]}}", false);
}

// Files that spend as little as they can on as many tensors or entries as they can: they come nearest to the bound on
// memory, which parse_measured checks. Names are numbers, so that with `twice` the last can be made that of another.
static void dense(const char* begin, const char* end, int count, bool tensors, bool twice) {
  char* header = malloc((size_t)count * 64 + 64);
  REQUIRE(header != NULL);
  size_t length = (size_t)sprintf(header, "%s", begin);
  for (int i = 0; i < count; ++i) {
    length += (size_t)sprintf(header + length, "%s\"%x\":%s", i ? "," : "", twice && i + 1 == count ? 7u : (unsigned)i,
                              tensors ? "{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}" : "\"\"");
  }
  length += (size_t)sprintf(header + length, "%s", end);
  size_t size;
  uint8_t* bytes = compose(header, length, 0, &size);
  bw_safetensors file;
  bw_error error;
  const bw_status status = parse_measured(bytes, size, &file, &error);
  CHECK(status == (twice ? BW_CHECKPOINT : BW_OK));
  if (status == BW_OK) {
    CHECK_EQ_INT(tensors ? file.tensor_count : file.metadata_count, count);
    bw_safetensors_free(&file);
  } else {
    CHECK_EQ_STR(error.path, tensors ? "7" : "__metadata__");
  }
  free(bytes);
  free(header);
}

static void test_dense(void) {
#ifdef BW_SANITIZED
  enum { MANY = 100000 };
#else
  enum { MANY = 1000000 };
#endif
  static const int counts[] = {1, 2, 3, 10, 16, 17, MANY};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; ++i) {
    dense("{\"__metadata__\":{", "}}", counts[i], false, false);
    dense("{", "}", counts[i], true, false);
  }
  dense("{\"__metadata__\":{", "}}", MANY, false, true);
  dense("{", "}", MANY, true, true);
}

static int by_value(const void* a, const void* b) {
  const uint32_t x = *(const uint32_t*)a, y = *(const uint32_t*)b;
  return x < y ? -1 : x > y;
}

// Against the library's sort, on every small length: ordered, reversed, with many equals, random.
static void test_sort(void) {
  enum { MOST = 300 };
  for (uint32_t count = 0; count <= MOST; ++count) {
    for (uint32_t kind = 0; kind < 4; ++kind) {
      uint32_t got[MOST], wanted[MOST];
      for (uint32_t i = 0; i < count; ++i) {
        const uint32_t random = bw_philox(2, count, i, kind).v[0];
        got[i] = kind == 0 ? i : kind == 1 ? count - i : kind == 2 ? random % 4 : random;
      }
      memcpy(wanted, got, count * sizeof *got);
      qsort(wanted, count, sizeof *wanted, by_value);
      sort(got, count, sizeof *got, NULL, by_place);
      CHECK_MSG(memcmp(got, wanted, count * sizeof *got) == 0, "%u elements, kind %u", count, kind);
    }
  }
}

static void test_write_refuses(void) {
  static const float data[4] = {0};
  const bw_tensor good = {.name = "a", .dtype = BW_F32, .rank = 2, .shape = {2, 2}, .data = data, .bytes = 16};
  uint8_t* bytes;
  size_t size;
  bw_error error;
  bw_tensor bad[2] = {good, good};
  CHECK(bw_safetensors_write(bad, 2, NULL, 0, &bytes, &size, &error) == BW_CHECKPOINT);  // one name twice
  CHECK_EQ_STR(error.path, "a");
  CHECK(bytes == NULL && size == 0);
#define REFUSES(change)                                                                   \
  do {                                                                                    \
    bad[0] = good;                                                                        \
    change;                                                                               \
    CHECK(bw_safetensors_write(bad, 1, NULL, 0, &bytes, &size, &error) == BW_CHECKPOINT); \
    CHECK(error.message[0] != 0);                                                         \
  } while (0)
  REFUSES(bad[0].bytes = 12);
  REFUSES(bad[0].shape[1] = 3);
  REFUSES(bad[0].shape[0] = -2; bad[0].shape[1] = -2);
  REFUSES(bad[0].rank = 5);
  REFUSES(bad[0].rank = -1);
  REFUSES(bad[0].dtype = BW_F64);
  REFUSES(bad[0].dtype = (bw_dtype)99);
  REFUSES(bad[0].data = NULL);
  REFUSES(bad[0].name = NULL);
  REFUSES(bad[0].name = "\xFF");
  REFUSES(bad[0].name = "__metadata__");
#undef REFUSES
  const bw_metadata twice[2] = {{.key = "k", .value = "1"}, {.key = "k", .value = "2"}};
  CHECK(bw_safetensors_write(&good, 1, twice, 2, &bytes, &size, &error) == BW_CHECKPOINT);
  const bw_metadata broken = {.key = "k", .value = "\xC3"};
  CHECK(bw_safetensors_write(&good, 1, &broken, 1, &bytes, &size, &error) == BW_CHECKPOINT);
  CHECK_EQ_STR(error.path, "__metadata__");
}

int main(void) {
  test_round_trip();
  test_dtypes();
  test_accepted();
  test_structure();
  test_tensors();
  test_offsets();
  test_strings();
  test_lengths();
  test_depth_and_size();
  test_dense();
  test_sort();
  test_write_refuses();
  return check_summary("safetensors");
}
