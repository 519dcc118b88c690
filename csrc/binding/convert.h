// Between JavaScript values and the structs of bw.h.
#ifndef BW_BINDING_CONVERT_H
#define BW_BINDING_CONVERT_H

#include "js.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "../api/bw.h"

namespace bellows {

// One option as JavaScript saw it.
struct Entry {
  std::string path;
  bw_value_kind kind;
  std::string text;
};

// [{path, kind, text}]; false (and a pending TypeError) when the value has another form.
bool ReadEntries(Napi::Value value, std::vector<Entry>* entries);
// Strings of an array; false (and a pending TypeError) when the value has another form.
bool ReadStrings(Napi::Value value, std::vector<std::string>* strings);
// Strings of JavaScript may hold NUL characters; those of the engine end there. BW_OPTION for such a text.
bw_status CheckText(const std::string& text, const char* op, const char* path, bw_error* error);

// Memory of malloc for what may be large: a failure says how much was needed.
struct Bytes {
  uint8_t* data = nullptr;
  size_t size = 0;

  Bytes() = default;
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  ~Bytes() { std::free(data); }
  bw_status Allocate(size_t count, const char* op, bw_error* error);
  bw_status Copy(Napi::TypedArray view, const char* op, bw_error* error);
  uint8_t* Release() { return std::exchange(data, nullptr); }
};

// bw_config_init, each entry in order, bw_config_check.
bw_status Resolve(const std::string& game, const std::vector<Entry>& entries, bw_config* config, bw_error* error);
// The resolved options as [{path, kind, text}].
Napi::Array ConfigObject(Napi::Env env, const bw_config& config);

Napi::Object SharesObject(Napi::Env env, const bw_shares& shares);
Napi::Object CertificateObject(Napi::Env env, const bw_certificate& certificate);
Napi::Object IterationObject(Napi::Env env, const bw_iteration& iteration);
Napi::Array SpansObject(Napi::Env env, const bw_prof& prof);

// Events of a timeline by columns: name and group as places in names (group -1: the event is a phase), thread, start
// and end in ns of bw_now_ns (exact in a double for a hundred days of uptime), flops, bytes, and the number of threads
// whose work those are.
struct Events {
  static constexpr size_t kColumns = 8;
  std::vector<const char*> names;  // static strings
  std::vector<double> rows;
  int64_t dropped = 0;
  int threads = 0;  // of the timeline; 0 where it is off

  void Copy(const bw_timeline& timeline);
};
Napi::Object EventsObject(Napi::Env env, const Events& events);
// {metadata: {key: value}, tensors: [{name, dtype, shape, offset, bytes}]}; offset is from `base`.
Napi::Object FileObject(Napi::Env env, const bw_safetensors& file, const uint8_t* base);

// A malloc'ed range as an ArrayBuffer without a copy; copied where external buffers are forbidden. Takes ownership.
Napi::Value OwnedBuffer(Napi::Env env, uint8_t* bytes, size_t size);

}  // namespace bellows

#endif
