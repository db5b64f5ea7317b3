#include "routes/webhook_page.h"

#include <algorithm>

#include "sequential/base/bytes.h"

namespace sequential::server {
namespace {

constexpr std::string_view kStyle =
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;"
    "color:#111;background:#fff}p{white-space:pre-wrap;overflow-wrap:anywhere}"
    "button{font:inherit;margin:0 .75rem .75rem 0;padding:.5rem 1.25rem;border:2px solid #111;"
    "border-radius:.3rem;background:#fff;color:#111;cursor:pointer}"
    "button:focus-visible{outline:3px solid #06c;outline-offset:2px}";

HttpResponse page_of(int status, std::string_view title, const std::string& main) {
  static const std::string policy =
      "default-src 'none'; style-src 'sha256-" + base64_of(sha256(kStyle)) +
      "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
  HttpResponse response;
  response.status = status;
  response.content_type = "text/html; charset=utf-8";
  response.body =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta name=\"robots\" content=\"noindex\"><title>" +
      html_escape(title) + "</title><style>" + std::string(kStyle) +
      "</style></head>\n<body><main>\n" + main + "</main></body></html>\n";
  response.headers.emplace_back("Content-Security-Policy", policy);
  return response;
}

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        // HTML has no place for control characters; those that the engine lets through stay.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
  return out;
}

std::string base64_of(std::string_view bytes) {
  std::string text = to_base64url(bytes);
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  while (text.size() % 4 != 0) text += '=';
  return text;
}

HttpResponse ask_page(const ApprovalPage& page) {
  const std::string title = page.title.empty() ? "Your decision is needed" : page.title;
  std::string main = "<h1>" + html_escape(title) + "</h1>\n";
  if (!page.text.empty()) main += "<p>" + html_escape(page.text) + "</p>\n";
  main += "<form method=\"post\">\n";
  for (const auto& choice : page.choices) {
    const std::string escaped = html_escape(choice);
    main += "<button type=\"submit\" name=\"choice\" value=\"" + escaped + "\">" + escaped +
            "</button>\n";
  }
  return page_of(200, title, main + "</form>\n");
}

HttpResponse note_page(int status, std::string_view heading, std::string_view sentence) {
  return page_of(status, heading,
                 "<h1>" + html_escape(heading) + "</h1>\n<p>" + html_escape(sentence) + "</p>\n");
}

}  // namespace sequential::server
