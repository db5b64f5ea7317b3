#pragma once
// The JavaScript that is compiled into the engine (engine/bootstrap/).

#include <string_view>

namespace sequential::engine::v8host {

// `(function ($) { 'use strict'; … })`: the runtime that every context is born with.
std::string_view bootstrap_source();

// An expression: function (TextEncoder, TextDecoder) → {URL, URLSearchParams}. ASCII.
std::string_view url_library_source();

}  // namespace sequential::engine::v8host
