# The portable engine and the addon for node-gyp: a second way to build, for platforms that CMake does not reach and
# as a check (npm run build:gyp). The official build is CMakeLists.txt; both read csrc/sources.json.
{
  "target_defaults": {
    "include_dirs": ["csrc"],
    "defines": ["_GNU_SOURCE", "BW_CPU_VARIANT=portable"],
    "cflags": ["-O3", "-fvisibility=hidden", "-Wall", "-Wextra"],
    "cflags_c": ["-std=c11", "-ffp-contract=off", "-Wshadow"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
    "cflags_cc": ["-std=c++17", "-fexceptions", "-fvisibility-inlines-hidden"],
    "xcode_settings": {
      "GCC_OPTIMIZATION_LEVEL": "3",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CFLAGS": ["-ffp-contract=off"]
    },
    "msvs_settings": {
      "VCCLCompilerTool": { "ExceptionHandling": 1, "AdditionalOptions": ["/std:c11"] }
    }
  },
  "targets": [
    {
      "target_name": "bellows_engine",
      "type": "static_library",
      "sources": ["<!@(node -p \"const s = require('./csrc/sources.json'); [...s.engine, ...s.variants].join(' ')\")"]
    },
    {
      "target_name": "bellows",
      "dependencies": ["bellows_engine"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "sources": ["<!@(node -p \"require('./csrc/sources.json').binding.join(' ')\")"],
      "libraries": ["-lm"],
      "conditions": [["OS=='linux'", { "ldflags": ["-Wl,--version-script=<(module_root_dir)/csrc/binding/exports.map", "-Wl,-z,nodelete", "-pthread"] }]]
    }
  ]
}
