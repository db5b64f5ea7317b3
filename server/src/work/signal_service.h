#pragma once
// The service "signal": waiting for signals, sending them, and making webhooks.
//
// Threads: as InnerService. `wake` is called on the io_context.

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "sequential/base/clock.h"
#include "sequential/services/service.h"
#include "sequential/storage/store.h"

namespace sequential::server {

struct SignalServiceOptions {
  std::int64_t kept_max = 10'000;
  std::string public_url;  // of webhooks, without their path; empty: none can be made
  storage::Lease lease;    // for as long as the store is asked again
  std::function<bool()> handoff;  // whether runs that are woken are claimed for this node
  std::function<void(storage::Wake)> wake;
};

// The store must have signals().
std::shared_ptr<services::Service> make_signal_service(boost::asio::io_context& io,
                                                       storage::Store& store, const Clock& clock,
                                                       SignalServiceOptions options);

// Names that signals of tasks and clients have: 1 to 128 of A-Z a-z 0-9 . _ -
bool is_signal_name(std::string_view name);

// What stands in an address, and what the store knows it by.
std::string new_webhook_token();
bool is_webhook_token(std::string_view token);
std::string webhook_key(std::string_view token);

}  // namespace sequential::server
