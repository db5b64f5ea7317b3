#pragma once
// Attempts that the sandbox must stop, for tests only: compiled in where fault points are.

#include <string_view>

namespace sequential::engine::v8host {

bool probes_compiled();

// Tries it in the sealed process. 0: it worked, 1: it was refused, 2: unknown name. Killed if the
// sandbox kills.
int run_probe(std::string_view name);

}  // namespace sequential::engine::v8host
