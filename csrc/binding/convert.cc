#include "convert.h"

#include <cstdlib>
#include <cstring>
#include <map>

namespace bellows {

namespace {

const char* const kinds[] = {"number", "boolean", "string", "other"};

bool Refuse(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return false;
}

Napi::Number Count(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }
Napi::Number Count(Napi::Env env, int64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

Napi::Object ExploitObject(Napi::Env env, const bw_exploit& exploit) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("exploitability", exploit.exploitability);
  object.Set("first", exploit.first);
  object.Set("second", exploit.second);
  object.Set("worstFirst", exploit.worst_first);
  object.Set("worstSecond", exploit.worst_second);
  return object;
}

Napi::Array SeatsObject(Napi::Env env, const bw_shares* seats) {
  Napi::Array array = Napi::Array::New(env, 2);
  array.Set(0u, SharesObject(env, seats[0]));
  array.Set(1u, SharesObject(env, seats[1]));
  return array;
}

}  // namespace

bool ReadEntries(Napi::Value value, std::vector<Entry>* entries) {
  Napi::Env env = value.Env();
  if (!value.IsArray()) return Refuse(env, "entries: an array is needed");
  Napi::Array array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    Napi::Value item = array.Get(i);
    if (!item.IsObject()) return Refuse(env, "entries: objects are needed");
    Napi::Value path = item.As<Napi::Object>().Get("path");
    Napi::Value kind = item.As<Napi::Object>().Get("kind");
    Napi::Value text = item.As<Napi::Object>().Get("text");
    if (!path.IsString() || !kind.IsString() || !text.IsString()) return Refuse(env, "entries: {path, kind, text}");
    Entry entry{path.As<Napi::String>().Utf8Value(), BW_VALUE_OTHER, text.As<Napi::String>().Utf8Value()};
    std::string name = kind.As<Napi::String>().Utf8Value();
    for (int k = 0; k < 4; ++k) {
      if (name == kinds[k]) entry.kind = static_cast<bw_value_kind>(k);
    }
    entries->push_back(std::move(entry));
  }
  return true;
}

bool ReadStrings(Napi::Value value, std::vector<std::string>* strings) {
  Napi::Env env = value.Env();
  if (!value.IsArray()) return Refuse(env, "an array of strings is needed");
  Napi::Array array = value.As<Napi::Array>();
  strings->reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    Napi::HandleScope scope(env);
    Napi::Value item = array.Get(i);
    if (!item.IsString()) return Refuse(env, "an array of strings is needed");
    strings->push_back(item.As<Napi::String>().Utf8Value());
  }
  return true;
}

bw_status CheckText(const std::string& text, const char* op, const char* path, bw_error* error) {
  if (text.find('\0') == std::string::npos) return BW_OK;
  return bw_fail_option(error, op, path, "a text with a NUL character", "text without NUL characters");
}

bw_status Bytes::Allocate(size_t count, const char* op, bw_error* error) {
  data = static_cast<uint8_t*>(std::malloc(count + 1));  // never of size 0
  if (!data) return bw_fail_memory(error, op, "a copy of the data", count, 0);
  size = count;
  return BW_OK;
}

bw_status Bytes::Copy(Napi::TypedArray view, const char* op, bw_error* error) {
  BW_TRY(Allocate(view.ByteLength(), op, error));
  if (size > 0) std::memcpy(data, static_cast<const uint8_t*>(view.ArrayBuffer().Data()) + view.ByteOffset(), size);
  return BW_OK;
}

bw_status Resolve(const std::string& game, const std::vector<Entry>& entries, bw_config* config, bw_error* error) {
  BW_TRY(CheckText(game, "options", "game.name", error));
  BW_TRY(bw_config_init(config, game.c_str(), error));
  for (const Entry& entry : entries) {
    BW_TRY(CheckText(entry.path, "options", entry.path.c_str(), error));
    BW_TRY(CheckText(entry.text, "options", entry.path.c_str(), error));
    BW_TRY(bw_config_set(config, entry.path.c_str(), entry.kind, entry.text.c_str(), error));
  }
  return bw_config_check(config, error);
}

Napi::Array ConfigObject(Napi::Env env, const bw_config& config) {
  int count = bw_config_count();
  Napi::Array array = Napi::Array::New(env, static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    const char* path = "";
    bw_value_kind kind = BW_VALUE_OTHER;
    char text[BW_TEXT_SIZE] = "";
    bw_config_get(&config, i, &path, &kind, text, static_cast<int>(sizeof text));
    Napi::Object object = Napi::Object::New(env);
    object.Set("path", path);
    object.Set("kind", kinds[kind]);
    object.Set("text", text);
    array.Set(static_cast<uint32_t>(i), object);
  }
  return array;
}

Napi::Object SharesObject(Napi::Env env, const bw_shares& shares) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("win", shares.win);
  object.Set("draw", shares.draw);
  object.Set("loss", shares.loss);
  return object;
}

Napi::Object CertificateObject(Napi::Env env, const bw_certificate& certificate) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("argmax", ExploitObject(env, certificate.argmax));
  object.Set("sampled", ExploitObject(env, certificate.sampled));
  object.Set("argmaxRandom", SeatsObject(env, certificate.argmax_random));
  object.Set("sampledRandom", SeatsObject(env, certificate.sampled_random));
  object.Set("states", Count(env, certificate.states));
  return object;
}

static Napi::Value RolesArray(Napi::Env env, const bw_iteration& iteration) {
  if (!iteration.league) return env.Null();
  Napi::Array array = Napi::Array::New(env, BW_ROLES);
  for (uint32_t role = 0; role < BW_ROLES; ++role) {
    const bw_role_metrics& metrics = iteration.roles[role];
    Napi::Object object = Napi::Object::New(env);
    object.Set("winRate", metrics.win_rate);
    object.Set("iterations", Count(env, metrics.iterations));
    object.Set("samples", Count(env, metrics.samples));
    object.Set("sampleShare", metrics.sample_share);
    object.Set("frozen", Count(env, metrics.frozen));
    object.Set("resets", Count(env, metrics.resets));
    array.Set(role, object);
  }
  return array;
}

Napi::Object IterationObject(Napi::Env env, const bw_iteration& iteration) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("index", Count(env, iteration.index));
  object.Set("games", Count(env, iteration.games));
  object.Set("samples", Count(env, iteration.samples));
  object.Set("plies", Count(env, iteration.plies));
  object.Set("updates", Count(env, iteration.updates));
  object.Set("totalGames", Count(env, iteration.total_games));
  object.Set("totalSamples", Count(env, iteration.total_samples));
  object.Set("win", iteration.win);
  object.Set("draw", iteration.draw);
  object.Set("loss", iteration.loss);
  object.Set("firstWin", iteration.first_win);
  object.Set("firstDraw", iteration.first_draw);
  object.Set("firstLoss", iteration.first_loss);
  object.Set("policyLoss", iteration.policy_loss);
  object.Set("valueLoss", iteration.value_loss);
  object.Set("entropy", iteration.entropy);
  object.Set("approxKl", iteration.approx_kl);
  object.Set("clipFraction", iteration.clip_fraction);
  object.Set("gradNorm", iteration.grad_norm);
  object.Set("explainedVariance", iteration.explained_variance);
  object.Set("maxRatioError", iteration.max_ratio_error);
  object.Set("lr", iteration.lr);
  object.Set("entropyCoef", iteration.entropy_coef);
  object.Set("poolSize", Count(env, iteration.pool_size));
  object.Set("epochs", Count(env, iteration.epochs));
  object.Set("collectSeconds", iteration.collect_seconds);
  object.Set("updateSeconds", iteration.update_seconds);
  object.Set("flops", iteration.flops);
  object.Set("roofline", iteration.roofline);
  object.Set("roofRaised", iteration.roof_raised);
  object.Set("roles", RolesArray(env, iteration));
  return object;
}

Napi::Array SpansObject(Napi::Env env, const bw_prof& prof) {
  Napi::Array array = Napi::Array::New(env, static_cast<size_t>(prof.count));
  for (int i = 0; i < prof.count; ++i) {
    const bw_span& span = prof.spans[i];
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", span.name ? span.name : "");
    object.Set("group", span.group ? span.group : "");
    object.Set("calls", Count(env, span.calls));
    object.Set("seconds", static_cast<double>(span.ns) * 1e-9);
    object.Set("flops", span.flops);
    object.Set("bytes", span.bytes);
    array.Set(static_cast<uint32_t>(i), object);
  }
  return array;
}

void Events::Copy(const bw_timeline& timeline) {
  std::map<const char*, double> places;
  auto place = [&](const char* name) {
    if (!name) return -1.0;
    auto [found, added] = places.try_emplace(name, static_cast<double>(names.size()));
    if (added) names.push_back(name);
    return found->second;
  };
  threads = timeline.threads;
  size_t count = 0;
  for (int t = 0; t < timeline.threads; ++t) count += static_cast<size_t>(timeline.lanes[t].count);
  rows.reserve(count * kColumns);
  for (int t = 0; t < timeline.threads; ++t) {
    const bw_thread_events& lane = timeline.lanes[t];
    dropped += lane.dropped;
    for (int64_t i = 0; i < lane.count; ++i) {
      const bw_event& event = lane.events[i];
      const double row[kColumns] = {place(event.name),
                                    place(event.group),
                                    static_cast<double>(t),
                                    static_cast<double>(event.start_ns),
                                    static_cast<double>(event.end_ns),
                                    event.flops,
                                    event.bytes,
                                    static_cast<double>(event.threads)};
      rows.insert(rows.end(), row, row + kColumns);
    }
  }
}

Napi::Object EventsObject(Napi::Env env, const Events& events) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Array names = Napi::Array::New(env, events.names.size());
  for (size_t i = 0; i < events.names.size(); ++i) names.Set(static_cast<uint32_t>(i), events.names[i]);
  object.Set("names", names);
  Napi::Float64Array rows = Napi::Float64Array::New(env, events.rows.size());
  if (!events.rows.empty() && !rows.IsEmpty()) {
    std::memcpy(rows.Data(), events.rows.data(), events.rows.size() * sizeof(double));
  }
  object.Set("rows", rows);
  object.Set("dropped", Count(env, events.dropped));
  object.Set("threads", events.threads);
  return object;
}

Napi::Object FileObject(Napi::Env env, const bw_safetensors& file, const uint8_t* base) {
  Napi::Object metadata = Napi::Object::New(env);
  for (int i = 0; i < file.metadata_count; ++i) {
    Napi::HandleScope scope(env);
    const bw_metadata entry = bw_safetensors_entry(&file, i);
    // As an own property, whatever its name: a file may say "__proto__".
    napi_property_descriptor property{};
    property.name = Napi::String::New(env, entry.key);
    property.value = Napi::String::New(env, entry.value);
    property.attributes = napi_default_jsproperty;
    napi_define_properties(env, metadata, 1, &property);
  }
  Napi::Array tensors = Napi::Array::New(env, static_cast<size_t>(file.tensor_count));
  for (int i = 0; i < file.tensor_count; ++i) {
    Napi::HandleScope scope(env);
    const bw_tensor tensor = bw_safetensors_tensor(&file, i);
    Napi::Object object = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env, static_cast<size_t>(tensor.rank));
    for (int d = 0; d < tensor.rank; ++d) shape.Set(static_cast<uint32_t>(d), Count(env, tensor.shape[d]));
    object.Set("name", tensor.name);
    object.Set("dtype", bw_dtype_name(tensor.dtype));
    object.Set("shape", shape);
    object.Set("offset", Count(env, static_cast<int64_t>(static_cast<const uint8_t*>(tensor.data) - base)));
    object.Set("bytes", Count(env, static_cast<uint64_t>(tensor.bytes)));
    tensors.Set(static_cast<uint32_t>(i), object);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("metadata", metadata);
  object.Set("tensors", tensors);
  return object;
}

Napi::Value OwnedBuffer(Napi::Env env, uint8_t* bytes, size_t size) {
  napi_value buffer = nullptr;
  napi_status status = napi_create_external_arraybuffer(
      env, bytes, size, [](napi_env, void* data, void*) { std::free(data); }, nullptr, &buffer);
  if (status == napi_ok) return Napi::Value(env, buffer);
  Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, size);
  if (!copy.IsEmpty() && size > 0) std::memcpy(copy.Data(), bytes, size);
  std::free(bytes);
  return copy;
}

}  // namespace bellows
