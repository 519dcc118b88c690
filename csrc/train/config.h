// A resolved configuration: options.def as a struct, with checked setters.
#ifndef BW_TRAIN_CONFIG_H
#define BW_TRAIN_CONFIG_H

#include <stdbool.h>

#include "../core/cpu.h"  // bw_precision
#include "../core/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BW_TEXT_SIZE = 1024 };  // of an option's text, with the final 0

typedef struct bw_config {
#define INT(field, path, initial, min, max, doc) int64_t field;
#define REAL(field, path, initial, min, max, doc) double field;
#define BOOL(field, path, initial, doc) bool field;
#define ENUM(field, path, initial, names, doc) int field;
#define TEXT(field, path, doc) char field[BW_TEXT_SIZE];
#include "options.def"
#undef INT
#undef REAL
#undef BOOL
#undef ENUM
#undef TEXT
} bw_config;

enum { BW_NET_MLP, BW_NET_RESMLP };
enum { BW_VALUE_SCALAR, BW_VALUE_WDL };
enum { BW_SAMPLING_UNIFORM, BW_SAMPLING_LATEST, BW_SAMPLING_RECENCY, BW_SAMPLING_PFSP };
enum { BW_EVICTION_RESERVOIR, BW_EVICTION_KEEP_FIRST };
enum { BW_PER_GAME, BW_PER_ITERATION };
enum { BW_LEARN_BOTH, BW_LEARN_AGENT };
enum { BW_CHAIN_AUTO, BW_CHAIN_PLAYER, BW_CHAIN_PLY };
enum { BW_SCHEDULE_CONSTANT, BW_SCHEDULE_LINEAR, BW_SCHEDULE_COSINE };
enum { BW_OPTIMIZER_ADAMW, BW_OPTIMIZER_MUON };
enum { BW_DEVICE_AUTO, BW_DEVICE_CPU, BW_DEVICE_CUDA, BW_DEVICE_METAL };

typedef enum bw_value_kind { BW_VALUE_NUMBER, BW_VALUE_BOOL, BW_VALUE_STRING, BW_VALUE_OTHER } bw_value_kind;

// Defaults of options.def alone, whatever recipes.def says: for what must not change with a recipe. BW_OPTION for an
// unknown game.
bw_status bw_config_defaults(bw_config* config, const char* game, bw_error* error);

// Defaults of options.def, then the game's lines of recipes.def. BW_OPTION for an unknown game.
bw_status bw_config_init(bw_config* config, const char* game, bw_error* error);

// Sets one option. text: the value as text (a number, "true"/"false", an enum's name). kind: the type that the
// caller saw (a JSON string for a number is refused); BW_VALUE_OTHER (array, object, null) is always refused.
// BW_OPTION with path, received, expected; an unknown path gets "did you mean" in the message. On failure the
// config is unchanged. "game.name" may only be set to the value that it has (choose the game in bw_config_init).
bw_status bw_config_set(bw_config* config, const char* path, bw_value_kind kind, const char* text, bw_error* error);

// Rules that span options (each documented at its check). Resolves ppo.chain "auto". Call before use.
bw_status bw_config_check(bw_config* config, bw_error* error);

int bw_config_count(void);  // number of options
// Option `index` as path, kind and text (shortest text that reads back to the same value). text: BW_TEXT_SIZE bytes.
void bw_config_get(const bw_config* config, int index, const char** path, bw_value_kind* kind, char* text, int size);

#ifdef __cplusplus
}
#endif
#endif
