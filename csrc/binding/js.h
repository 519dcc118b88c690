// node-addon-api, set up for an addon in environments that may be terminated at any moment.
#ifndef BW_BINDING_JS_H
#define BW_BINDING_JS_H

// worker.terminate() may fall between any two calls: each then fails, and an error that cannot be thrown any more
// must not abort the process. Values made after that are empty.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS

#include <napi.h>

#endif
