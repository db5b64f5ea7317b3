#pragma once
// What kind of network an IP address belongs to, after IANA's special-purpose registries (RFC 6890
// and successors). Outbound calls may reach only `global` addresses unless an operator says so.
//
// Threads: pure functions.

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sequential::services {

enum class AddressKind {
  global,
  unspecified,    // 0.0.0.0/8, ::
  loopback,       // 127.0.0.0/8, ::1
  private_use,    // 10/8, 172.16/12, 192.168/16, fc00::/7, fec0::/10
  shared,         // 100.64.0.0/10: carrier-grade NAT
  link_local,     // 169.254.0.0/16 (also cloud metadata), fe80::/10
  documentation,  // 192.0.2/24, 198.51.100/24, 203.0.113/24, 2001:db8::/32, 3fff::/20
  benchmarking,   // 198.18.0.0/15, 2001:2::/48
  protocol,       // 192.0.0.0/24, 2001::/23: IETF assignments, Teredo among them
  multicast,      // 224.0.0.0/4, ff00::/8
  broadcast,      // 255.255.255.255
  translated,     // an IPv4 address inside an IPv6 one: mapped, compatible, NAT64, 6to4
  reserved,       // everything else that is not global unicast
};

// "a private address", "a loopback address" … for messages.
std::string_view address_kind_name(AddressKind kind) noexcept;

AddressKind classify_ipv4(std::uint32_t host_order) noexcept;
AddressKind classify_ipv6(const std::array<std::uint8_t, 16>& bytes) noexcept;

// Families other than IPv4 and IPv6, and truncated structures, are `reserved`.
AddressKind classify(const sockaddr* address, socklen_t length) noexcept;

// An address as inet_pton takes it, without brackets or zone; nullopt if the text is none.
std::optional<AddressKind> classify_text(std::string_view text);

std::string address_text(const sockaddr* address, socklen_t length);

}  // namespace sequential::services
