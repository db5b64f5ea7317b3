// Which addresses outbound calls may reach, against IANA's registries of special-purpose addresses
// (https://www.iana.org/assignments/iana-ipv4-special-registry, …ipv6…).

#include "http/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

namespace sequential::services {
namespace {

using Kind = AddressKind;

struct Range {
  const char* first;
  const char* last;
  Kind kind;
};

std::uint32_t v4(const char* text) {
  in_addr address{};
  EXPECT_EQ(inet_pton(AF_INET, text, &address), 1) << text;
  return ntohl(address.s_addr);
}
std::array<std::uint8_t, 16> v6(const char* text) {
  std::array<std::uint8_t, 16> bytes{};
  EXPECT_EQ(inet_pton(AF_INET6, text, bytes.data()), 1) << text;
  return bytes;
}
std::array<std::uint8_t, 16> step(std::array<std::uint8_t, 16> bytes, int by) {
  for (std::size_t i = 16; i-- > 0;) {
    const auto before = bytes[i];
    bytes[i] = static_cast<std::uint8_t>(bytes[i] + by);
    if (by > 0 ? bytes[i] > before : bytes[i] < before) break;
  }
  return bytes;
}

// All of IPv4, without a gap: each range begins where the one before it ends.
const std::vector<Range> kAllIpv4 = {
    {"0.0.0.0", "0.255.255.255", Kind::unspecified},
    {"1.0.0.0", "9.255.255.255", Kind::global},
    {"10.0.0.0", "10.255.255.255", Kind::private_use},
    {"11.0.0.0", "100.63.255.255", Kind::global},
    {"100.64.0.0", "100.127.255.255", Kind::shared},
    {"100.128.0.0", "126.255.255.255", Kind::global},
    {"127.0.0.0", "127.255.255.255", Kind::loopback},
    {"128.0.0.0", "169.253.255.255", Kind::global},
    {"169.254.0.0", "169.254.255.255", Kind::link_local},
    {"169.255.0.0", "172.15.255.255", Kind::global},
    {"172.16.0.0", "172.31.255.255", Kind::private_use},
    {"172.32.0.0", "191.255.255.255", Kind::global},
    {"192.0.0.0", "192.0.0.255", Kind::protocol},
    {"192.0.1.0", "192.0.1.255", Kind::global},
    {"192.0.2.0", "192.0.2.255", Kind::documentation},
    {"192.0.3.0", "192.88.98.255", Kind::global},
    {"192.88.99.0", "192.88.99.255", Kind::translated},
    {"192.88.100.0", "192.167.255.255", Kind::global},
    {"192.168.0.0", "192.168.255.255", Kind::private_use},
    {"192.169.0.0", "198.17.255.255", Kind::global},
    {"198.18.0.0", "198.19.255.255", Kind::benchmarking},
    {"198.20.0.0", "198.51.99.255", Kind::global},
    {"198.51.100.0", "198.51.100.255", Kind::documentation},
    {"198.51.101.0", "203.0.112.255", Kind::global},
    {"203.0.113.0", "203.0.113.255", Kind::documentation},
    {"203.0.114.0", "223.255.255.255", Kind::global},
    {"224.0.0.0", "239.255.255.255", Kind::multicast},
    {"240.0.0.0", "255.255.255.254", Kind::reserved},
    {"255.255.255.255", "255.255.255.255", Kind::broadcast},
};

TEST(AddressTest, EveryIpv4AddressHasTheKindOfItsRange) {
  std::uint32_t next = 0;
  for (const Range& range : kAllIpv4) {
    const std::uint32_t first = v4(range.first), last = v4(range.last);
    EXPECT_EQ(first, next) << "a gap before " << range.first;
    for (const std::uint32_t each : {first, first + (last - first) / 3, last - (last - first) / 3,
                                     last}) {
      EXPECT_EQ(classify_ipv4(each), range.kind) << range.first << " " << std::hex << each;
    }
    next = last + 1;
  }
  EXPECT_EQ(next, 0u) << "the table does not reach the last address";
}

// All of IPv6 likewise.
const std::vector<Range> kAllIpv6 = {
    {"::", "::", Kind::unspecified},
    {"::1", "::1", Kind::loopback},
    {"::2", "::ffff:ffff", Kind::translated},  // IPv4-compatible
    {"::1:0:0", "::fffe:ffff:ffff", Kind::reserved},
    {"::ffff:0:0", "::ffff:ffff:ffff", Kind::translated},  // IPv4-mapped
    {"0:0:0:0:1::", "0:0:0:0:fffe:ffff:ffff:ffff", Kind::reserved},
    {"0:0:0:0:ffff::", "0:0:0:0:ffff:0:ffff:ffff", Kind::translated},  // SIIT
    {"0:0:0:0:ffff:1::", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", Kind::reserved},
    {"64:ff9b::", "64:ff9b::ffff:ffff", Kind::translated},  // NAT64
    {"64:ff9b::1:0:0", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", Kind::reserved},
    {"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Kind::translated},
    {"64:ff9b:2::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::reserved},
    {"2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::global},
    {"2001::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", Kind::protocol},  // Teredo and others
    {"2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Kind::benchmarking},
    {"2001:2:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::protocol},
    {"2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", Kind::global},
    {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Kind::documentation},
    {"2001:db9::", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::global},
    {"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::translated},  // 6to4
    {"2003::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::global},
    {"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::documentation},
    {"3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::global},
    {"4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::reserved},
    {"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::private_use},
    {"fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::reserved},
    {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::link_local},
    {"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::private_use},
    {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Kind::multicast},
};

TEST(AddressTest, EveryIpv6AddressHasTheKindOfItsRange) {
  std::array<std::uint8_t, 16> next{};
  for (const Range& range : kAllIpv6) {
    EXPECT_EQ(v6(range.first), next) << "a gap before " << range.first;
    EXPECT_EQ(classify_ipv6(v6(range.first)), range.kind) << range.first;
    EXPECT_EQ(classify_ipv6(v6(range.last)), range.kind) << range.last;
    next = step(v6(range.last), 1);
  }
  EXPECT_EQ(next, (std::array<std::uint8_t, 16>{})) << "the table does not reach the end";
}

TEST(AddressTest, OnlyGlobalUnicastIsGlobal) {
  for (const char* text : {"8.8.8.8", "1.1.1.1", "142.250.1.1", "2606:4700::1111",
                           "2a00:1450:4001::1", "2001:4860:4860::8888"}) {
    EXPECT_EQ(classify_text(text), Kind::global) << text;
  }
  for (const char* text :
       {"127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1",
        "64:ff9b::808:808", "2002:808:808::1", "2001::1", "fd00::1", "fe80::1", "::8.8.8.8",
        "fd00:ec2::254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "100.64.0.1"}) {
    EXPECT_NE(classify_text(text).value(), Kind::global) << text;
  }
}

TEST(AddressTest, TextThatIsNoAddressIsNotJudged) {
  for (const char* text : {"", "example.com", "127.1", "0x7f.0.0.1", "2130706433", "::1%lo",
                           "[::1]", "1.2.3.4.5", "1.2.3.256"}) {
    EXPECT_FALSE(classify_text(text).has_value()) << text;
  }
}

TEST(AddressTest, SocketAddressesOfOtherFamiliesAndLengthsAreReserved) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(0x08080808);
  const auto* address = reinterpret_cast<const sockaddr*>(&in);
  EXPECT_EQ(classify(address, sizeof in), Kind::global);
  EXPECT_EQ(address_text(address, sizeof in), "8.8.8.8");
  EXPECT_EQ(classify(address, sizeof in - 1), Kind::reserved);
  EXPECT_EQ(classify(nullptr, 0), Kind::reserved);
  in.sin_family = AF_UNIX;
  EXPECT_EQ(classify(address, sizeof in), Kind::reserved);
}

TEST(AddressTest, EveryKindHasAName) {
  for (int kind = 0; kind <= static_cast<int>(Kind::reserved); ++kind) {
    EXPECT_FALSE(address_kind_name(static_cast<Kind>(kind)).empty());
  }
}

}  // namespace
}  // namespace sequential::services
