#pragma once
// App: one node. Puts the parts together, runs until told to stop, and takes them apart in reverse.
//
// Threads:  `run` blocks the calling thread and uses server.threads more.
// Lifetime: everything given to it outlives it or is owned by it.

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/config/config.h"
#include "sequential/engine/runtime.h"
#include "sequential/services/builtin.h"
#include "sequential/services/service.h"
#include "sequential/storage/store.h"

namespace sequential::server {

// What main.cpp chooses: the backends.
struct Backends {
  std::function<Result<std::unique_ptr<storage::Store>>(const config::Config&, const Clock&)> store;
  std::function<Result<std::unique_ptr<engine::Runtime>>(boost::asio::io_context&,
                                                         const config::Config&)>
      runtime;
  std::function<void(services::Registry&, const config::Config&,
                     std::shared_ptr<services::Keystore>, services::HttpClient&, const Clock&)>
      services;
  bool store_is_exclusive = true;  // no other process can change it
};

// Serves until SIGTERM or SIGINT. `announce(url)` is called once, when requests are answered.
Result<void> run_node(const config::Config& config, const std::string& version,
                      const std::string& limits_json, const Backends& backends,
                      const std::function<void(const std::string& url)>& announce);

}  // namespace sequential::server
