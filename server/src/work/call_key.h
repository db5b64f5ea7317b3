#pragma once
// The key of what a call does to other runs, so that it is done once however often it is tried.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <string>
#include <utility>

#include "sequential/base/clock.h"
#include "sequential/storage/rewinds.h"
#include "sequential/storage/store.h"
#include "work/until_stored.h"

namespace sequential::server {

// "<run>:<seq>", and ":<n>" where a retry has removed a call of that number: what that one did has
// another key. Errors: fenced, and the store's.
inline net::awaitable<Result<std::string>> call_key(net::io_context& io, storage::Store& store,
                                                    const Clock& clock, MonoTime give_up,
                                                    storage::Grant call, std::int64_t seq) {
  const std::string key = std::to_string(call.run.value) + ":" + std::to_string(seq);
  storage::Rewinds* const rewinds = store.rewinds();
  if (rewinds == nullptr) co_return key;
  auto read = [rewinds, call](auto done) { rewinds->made_after(call, std::move(done)); };
  auto retry = co_await until_stored<std::int64_t>(io, clock, give_up, std::move(read));
  if (retry.has_error()) co_return std::move(retry).error();
  co_return retry.value() > 0 ? key + ":" + std::to_string(retry.value()) : key;
}

}  // namespace sequential::server
