#include "http/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace sequential::services {
namespace {

struct Ipv4Block {
  std::uint32_t base;
  int bits;
  AddressKind kind;
};
// Most specific first.
constexpr Ipv4Block kIpv4Blocks[] = {
    {0xFFFFFFFF, 32, AddressKind::broadcast},
    {0x00000000, 8, AddressKind::unspecified},
    {0x0A000000, 8, AddressKind::private_use},
    {0x64400000, 10, AddressKind::shared},
    {0x7F000000, 8, AddressKind::loopback},
    {0xA9FE0000, 16, AddressKind::link_local},
    {0xAC100000, 12, AddressKind::private_use},
    {0xC0000000, 24, AddressKind::protocol},
    {0xC0000200, 24, AddressKind::documentation},
    {0xC0586300, 24, AddressKind::translated},  // 192.88.99.0/24, the 6to4 relays of old
    {0xC0A80000, 16, AddressKind::private_use},
    {0xC6120000, 15, AddressKind::benchmarking},
    {0xC6336400, 24, AddressKind::documentation},
    {0xCB007100, 24, AddressKind::documentation},
    {0xE0000000, 4, AddressKind::multicast},
    {0xF0000000, 4, AddressKind::reserved},
};

struct Ipv6Block {
  std::array<std::uint8_t, 16> base;
  int bits;
  AddressKind kind;
};
// Most specific first; what no block names is global only inside 2000::/3.
constexpr Ipv6Block kIpv6Blocks[] = {
    {{}, 128, AddressKind::unspecified},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, AddressKind::loopback},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 96, AddressKind::translated},  // ::ffff:0:0/96
    {{0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF}, 96, AddressKind::translated},        // ::ffff:0:0:0/96
    {{}, 96, AddressKind::translated},                                          // ::/96
    {{0x00, 0x64, 0xFF, 0x9B}, 96, AddressKind::translated},
    {{0x00, 0x64, 0xFF, 0x9B, 0x00, 0x01}, 48, AddressKind::translated},
    {{0x20, 0x01, 0x00, 0x02, 0x00, 0x00}, 48, AddressKind::benchmarking},
    {{0x20, 0x01, 0x0D, 0xB8}, 32, AddressKind::documentation},
    {{0x20, 0x01}, 23, AddressKind::protocol},
    {{0x20, 0x02}, 16, AddressKind::translated},
    {{0x3F, 0xFF}, 20, AddressKind::documentation},
    {{0xFC}, 7, AddressKind::private_use},
    {{0xFE, 0x80}, 10, AddressKind::link_local},
    {{0xFE, 0xC0}, 10, AddressKind::private_use},
    {{0xFF}, 8, AddressKind::multicast},
    {{0x20}, 3, AddressKind::global},
};

bool in_block(const std::array<std::uint8_t, 16>& address, const Ipv6Block& block) noexcept {
  const auto whole = static_cast<std::size_t>(block.bits / 8);
  if (!std::equal(address.begin(), address.begin() + static_cast<std::ptrdiff_t>(whole),
                  block.base.begin())) {
    return false;
  }
  const int rest = block.bits % 8;
  if (rest == 0) return true;
  const int shift = 8 - rest;
  return (address[whole] >> shift) == (block.base[whole] >> shift);
}

}  // namespace

std::string_view address_kind_name(AddressKind kind) noexcept {
  switch (kind) {
    case AddressKind::global: return "a public address";
    case AddressKind::unspecified: return "the unspecified address";
    case AddressKind::loopback: return "a loopback address";
    case AddressKind::private_use: return "a private address";
    case AddressKind::shared: return "a carrier-grade NAT address";
    case AddressKind::link_local: return "a link-local address";
    case AddressKind::documentation: return "a documentation address";
    case AddressKind::benchmarking: return "a benchmarking address";
    case AddressKind::protocol: return "an address set aside for protocols";
    case AddressKind::multicast: return "a multicast address";
    case AddressKind::broadcast: return "the broadcast address";
    case AddressKind::translated: return "an IPv4 address in IPv6 form";
    case AddressKind::reserved: return "a reserved address";
  }
  return "a reserved address";
}

AddressKind classify_ipv4(std::uint32_t host_order) noexcept {
  for (const Ipv4Block& block : kIpv4Blocks) {
    const std::uint32_t mask = block.bits == 32 ? 0xFFFFFFFFu : ~(0xFFFFFFFFu >> block.bits);
    if ((host_order & mask) == block.base) return block.kind;
  }
  return AddressKind::global;
}

AddressKind classify_ipv6(const std::array<std::uint8_t, 16>& bytes) noexcept {
  for (const Ipv6Block& block : kIpv6Blocks) {
    if (in_block(bytes, block)) return block.kind;
  }
  return AddressKind::reserved;
}

AddressKind classify(const sockaddr* address, socklen_t length) noexcept {
  if (address == nullptr || length < sizeof(sa_family_t)) return AddressKind::reserved;
  if (address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return classify_ipv4(ntohl(in.sin_addr.s_addr));
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    return classify_ipv6(bytes);
  }
  return AddressKind::reserved;
}

std::optional<AddressKind> classify_text(std::string_view text) {
  const std::string copy(text);
  in_addr v4{};
  if (inet_pton(AF_INET, copy.c_str(), &v4) == 1) return classify_ipv4(ntohl(v4.s_addr));
  in6_addr v6{};
  if (inet_pton(AF_INET6, copy.c_str(), &v6) == 1) {
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &v6, bytes.size());
    return classify_ipv6(bytes);
  }
  return std::nullopt;
}

std::string address_text(const sockaddr* address, socklen_t length) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address != nullptr && address->sa_family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
  } else if (address != nullptr && address->sa_family == AF_INET6 &&
             length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof text);
  }
  return text[0] == '\0' ? "an address of an unknown family" : text;
}

}  // namespace sequential::services
