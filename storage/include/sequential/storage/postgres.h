#pragma once
// The store that many nodes share: one PostgreSQL database (14 or newer), state under row locks,
// every transition one round trip.

#include <cstdint>
#include <memory>
#include <string>

#include "sequential/base/clock.h"
#include "sequential/base/error.h"
#include "sequential/storage/store.h"

namespace sequential::storage {

struct PostgresOptions {
  // A libpq URL or keyword string, password and TLS settings included. Never logged or shown whole.
  std::string url;
  std::string schema = "sequential";  // created if missing; letters, digits, underscores
  int connections = 8;                // for transitions, 1…256; one more renews leases, one listens
  int readers = 2;                    // for reads that change nothing, 1…64
  int queue_max = 100'000;            // transitions waiting for a connection
  Millis connect_timeout{5'000};
  Millis statement_timeout{10'000};
  Millis lock_timeout{5'000};
  Millis idle_in_transaction_timeout{5'000};
  Millis tcp_user_timeout{10'000};
  // How long a transition whose connection broke under it is sent again until its fate is known.
  // No longer than its claim may hold: the lease's length.
  Millis unknown_patience{30'000};
  // Refuse to start on a server that acknowledges commits before they are on disk (fsync,
  // full_page_writes, synchronous_commit), and change nothing more when acknowledged commits turn
  // out to be missing (database_went_back); otherwise only warn.
  bool strict = true;
  // Send prepared statements by name. Off for PgBouncer before 1.21 in transaction mode.
  bool prepare = true;
  // LISTEN for what other nodes did. Off where the connection goes through a pooler in transaction
  // mode, which cannot carry it.
  bool listen = true;
  // Tests: leases and timers go by `clock` instead of the database server's clock.
  bool use_given_clock = false;
};

// Connects, migrates under an advisory lock, and starts the store's threads. `clock` outlives the
// store. Errors: unavailable (with the server's message, never the password); schema_newer; corrupt
// (another program's schema, or a migration changed since); config_invalid.
Result<std::unique_ptr<Store>> open_postgres(const PostgresOptions& options, const Clock& clock);

}  // namespace sequential::storage
