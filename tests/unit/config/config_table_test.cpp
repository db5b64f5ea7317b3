// The table of settings itself, and that its defaults are those of the modules they configure.
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <variant>

#include "sequential/config/load.h"
#include "sequential/engine/limits.h"
#include "sequential/services/builtin.h"
#include "sequential/storage/sqlite.h"
#include "settings.h"
#include "value.h"

namespace sequential::config {
namespace {

TEST(Settings, NamesAreUniqueInEverySource) {
  std::set<std::string> paths, variables;
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(paths.insert(std::string(setting.path)).second) << setting.path;
    EXPECT_TRUE(variables.insert(environment_name(setting.path)).second) << setting.path;
  }
}

TEST(Settings, NoNameIsBothASettingAndASection) {
  for (const Setting& setting : settings()) {
    for (const Setting& other : settings()) {
      EXPECT_FALSE(other.path.starts_with(std::string(setting.path) + ".")) << setting.path;
    }
  }
}

TEST(Settings, EachHelpsInOneSentence) {
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(setting.help.ends_with('.')) << setting.path;
    EXPECT_EQ(setting.help.find(". "), std::string::npos) << setting.path;
    EXPECT_LE(setting.help.size(), 100u) << setting.path;
  }
}

TEST(Settings, EveryNumberIsBoundedAndItsBoundsCanBeSet) {
  for (const Setting& setting : settings()) {
    if (setting.kind != Kind::integer && setting.kind != Kind::bytes) continue;
    EXPECT_LT(setting.min, setting.max) << setting.path;
    EXPECT_FALSE(setting.unit.empty()) << setting.path;
    Config config;
    const std::int64_t by_default = number_of(setting, config);
    EXPECT_GE(by_default, setting.min) << setting.path;
    EXPECT_LE(by_default, setting.max) << setting.path;
    for (const std::int64_t bound : {setting.min, setting.max}) {
      ASSERT_TRUE(assign_text(setting, std::to_string(bound), config)) << setting.path;
      EXPECT_EQ(number_of(setting, config), bound) << setting.path;
    }
    EXPECT_FALSE(assign_text(setting, std::to_string(setting.max + 1), config)) << setting.path;
    EXPECT_FALSE(assign_text(setting, std::to_string(setting.min - 1), config)) << setting.path;
    if (std::holds_alternative<int& (*)(Config&)>(setting.access)) {
      EXPECT_LE(setting.max, INT32_MAX) << setting.path;
    }
  }
}

TEST(ByteSizes, AreNumbersWithBinaryUnits) {
  EXPECT_EQ(parse_bytes("0").value(), 0);
  EXPECT_EQ(parse_bytes("17B").value(), 17);
  EXPECT_EQ(parse_bytes("8MiB").value(), 8 << 20);
  EXPECT_EQ(parse_bytes("8 GiB").value(), 8ll << 30);
  for (const char* text : {"", "MiB", "-1", "1.5MiB", "1MB", "1 mib", "8  MiB", " 8", "8MiBB",
                           "9223372036854775808", "9007199254740993TiB"}) {
    EXPECT_FALSE(parse_bytes(text)) << text;
  }
  EXPECT_EQ(show_bytes(9 << 20), "9 MiB");
  EXPECT_EQ(show_bytes(1'000), "1000 bytes");
}

TEST(Defaults, AreThoseOfTheEngine) {
  const Config config;
  const engine::Limits limits;
  EXPECT_EQ(config.limits.heap_bytes, limits.heap_bytes);
  EXPECT_EQ(config.limits.buffer_bytes, limits.buffer_bytes);
  EXPECT_EQ(config.limits.cpu_ms, limits.cpu_ms);
  EXPECT_EQ(config.limits.wall_ms, limits.wall_ms);
  EXPECT_EQ(config.limits.hard_kill_ms, limits.hard_kill_ms);
  EXPECT_EQ(config.limits.calls_in_flight, limits.calls_in_flight);
  EXPECT_EQ(config.limits.payload_bytes, limits.payload_bytes);
  EXPECT_EQ(config.limits.log_entries_per_slice, limits.log_entries_per_slice);
  EXPECT_EQ(config.limits.log_message_bytes, limits.log_message_bytes);
  EXPECT_EQ(config.limits.status_bytes, limits.status_bytes);
  EXPECT_EQ(config.limits.attributes, limits.attributes);
  EXPECT_EQ(config.limits.attribute_chars, limits.attribute_chars);
  EXPECT_EQ(config.limits.attributes_chars, limits.attributes_chars);
  EXPECT_EQ(config.limits.frame_bytes, limits.frame_bytes);
  // A member more or less in one of them, besides the server's own four: child_depth,
  // cancel_grace_ms, signals_kept and signal_bytes.
  EXPECT_EQ(sizeof(Limits), sizeof(engine::Limits) + 4 * sizeof(std::int64_t));
}

TEST(Defaults, AreThoseOfTheStore) {
  const Config config;
  const storage::SqliteOptions sqlite;
  EXPECT_EQ(config.store.path, sqlite.path);
  EXPECT_EQ(config.store.sqlite.readers, sqlite.readers);
  EXPECT_EQ(config.store.sqlite.queue_max, sqlite.queue_max);
  EXPECT_EQ(config.store.sqlite.batch_max, sqlite.batch_max);
  EXPECT_EQ(config.store.sqlite.wal_checkpoint_pages, sqlite.wal_checkpoint_pages);
  EXPECT_EQ(config.store.sqlite.cache_kib, sqlite.cache_kib);
  EXPECT_EQ(config.store.sqlite.size_bytes_max, sqlite.size_bytes_max);
  EXPECT_EQ(config.store.lease_ms, storage::Lease{}.length.count());
}

TEST(Defaults, AreThoseOfTheServices) {
  const Config config;
  const services::HttpClientOptions client;
  EXPECT_EQ(config.services.http.allow_hosts, client.allow_hosts);
  EXPECT_EQ(config.services.http.connections_max, client.connections_max);
  EXPECT_EQ(config.services.http.connections_per_host_max, client.connections_per_host_max);
  EXPECT_EQ(config.services.http.queue_max, client.queue_max);
  EXPECT_EQ(config.services.http.redirects_max, services::HttpServiceOptions{}.redirects_max);
  EXPECT_EQ(config.services.http.response_bytes_max,
            services::HttpServiceOptions{}.response_bytes_max);
  EXPECT_EQ(config.services.gapi.endpoint, services::GapiOptions{}.endpoint);
  EXPECT_EQ(config.services.gapi.response_bytes_max, services::GapiOptions{}.response_bytes_max);
  EXPECT_EQ(config.services.keystore.readable, services::KeystoreServiceOptions{}.readable);
  EXPECT_EQ(config.services.keystore.writable, services::KeystoreServiceOptions{}.writable);
}

}  // namespace
}  // namespace sequential::config
