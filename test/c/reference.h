// The reference device of the tests: the kernels' own text instantiated in float64 on one thread, every composite op
// by its default list. What a backend computes is compared with it, and finite differences are taken on it.
#ifndef BW_TEST_REFERENCE_H
#define BW_TEST_REFERENCE_H

#include "../../csrc/device/device.h"

bw_status bw_reference_device_create(bw_device** device, bw_error* error);

#endif
