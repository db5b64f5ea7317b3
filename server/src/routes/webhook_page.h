#pragma once
// The pages that people see who open a webhook's address: plain HTML, readable by everything, no
// scripts. All texts are escaped here.

#include <string>
#include <string_view>
#include <vector>

#include "http/types.h"

namespace sequential::server {

struct ApprovalPage {
  std::string title, text;
  std::vector<std::string> choices;
};

std::string html_escape(std::string_view text);
std::string base64_of(std::string_view bytes);

// The question, with a button for each choice.
HttpResponse ask_page(const ApprovalPage& page);
// What came of it: a heading and a sentence.
HttpResponse note_page(int status, std::string_view heading, std::string_view sentence);

}  // namespace sequential::server
