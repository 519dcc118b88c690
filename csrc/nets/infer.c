// What a net says of positions.
#include "net.h"

bw_status bw_net_infer(bw_device* device, const bw_net* net, const bw_activations* act, const bw_game* game,
                       uint16_t* features, const void* states, int64_t count, float* head, bw_error* error) {
  const bw_observer* observer = &game->observers[net->layout->shape.observation];
  const int64_t outputs = game->actions + 1, stride = 1 + observer->max_features;
  for (int64_t first = 0; first < count; first += act->max_rows) {
    const int64_t left = count - first;
    const int64_t rows = left < act->max_rows ? left : act->max_rows;
    for (int64_t i = 0; i < rows; ++i) {
      uint16_t* list = features + i * stride;
      list[0] = (uint16_t)observer->features((const char*)states + (size_t)(first + i) * game->state_bytes, list + 1);
    }
    device->backend->upload(device, act->features, features, (size_t)(rows * stride) * sizeof(uint16_t));
    bw_group_begin(device, BW_GROUP_ROWS, rows);
    bw_net_forward(device, net, act, rows);
    bw_group_end(device);
    BW_TRY(bw_net_download_head(device, net, act, rows, head + first * outputs, error));
  }
  return bw_device_sync(device, error);
}
