// sequential-config-schema FILE: writes the settings' JSON Schema there.
#include <cstdio>
#include <fstream>

#include "sequential/config/load.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: sequential-config-schema FILE\n", stderr);
    return 2;
  }
  std::ofstream out(argv[1], std::ios::binary | std::ios::trunc);
  out << sequential::config::schema_json();
  out.close();
  if (out) return 0;
  std::fprintf(stderr, "cannot write %s\n", argv[1]);
  return 1;
}
