#pragma once
// The store's clock: what decides about stored times is never this node's clock, which may be days
// off while the node works as it should.
//
// Threads: any.

#include <boost/asio/awaitable.hpp>

#include "async.h"
#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/store.h"

namespace sequential::server {

net::awaitable<Result<WallTime>> store_now(storage::Store& store);

}  // namespace sequential::server
