// Turns config/google-apis.json into constant tables that the gapi service compiles in, so that
// loading them costs nothing at start. Run by the build:
//   generate_google_apis IN.json OUT.inc
//
// The tables are those of src/gapi/facts.h. Methods are sorted by their full name.

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Json = nlohmann::ordered_json;

std::string quoted(const std::string& text) { return Json(text).dump(); }

std::string full_scope(const std::string& scope) {
  return scope.starts_with('~') ? "https://www.googleapis.com/auth/" + scope.substr(1) : scope;
}

std::string host_of(const std::string& root) {
  const std::string scheme = "https://";
  return root.substr(scheme.size(), root.find('/', scheme.size()) - scheme.size());
}

struct Tables {
  std::ostringstream apis, scopes, methods, names, queries, scope_indexes;
  std::size_t scope_count = 0, name_count = 0, query_count = 0, scope_index_count = 0;
  std::size_t api_count = 0;
};

std::string method_row(Tables& tables, std::size_t api, const std::string& full_name,
                       const std::string& service_path, const Json& facts) {
  std::ostringstream row;
  row << "    {" << quoted(full_name) << ", " << api << ", " << facts[0].dump() << ", "
      << quoted(service_path + facts[1].get<std::string>()) << ", ";
  const bool upload = facts.size() > 6 && facts[6].is_string();
  row << (upload ? facts[6].dump() : "\"\"") << ", " << tables.name_count << ", "
      << facts[2].size() << ", " << tables.query_count << ", " << facts[3].size() << ", "
      << tables.scope_index_count << ", " << facts[5].size() << ", "
      << (facts[4].get<int>() != 0 ? "true" : "false") << ", "
      << (facts.size() > 7 && facts[7] == "dl" ? "true" : "false") << "},\n";
  for (const Json& name : facts[2]) tables.names << "    " << name.dump() << ",\n";
  for (const auto& [name, type] : facts[3].items()) {
    const std::string kind = type.get<std::string>();
    tables.queries << "    {" << quoted(name) << ", "
                   << (kind.find('!') != std::string::npos ? "true" : "false") << "},\n";
  }
  for (const Json& index : facts[5]) tables.scope_indexes << index.get<int>() << ", ";
  tables.name_count += facts[2].size();
  tables.query_count += facts[3].size();
  tables.scope_index_count += facts[5].size();
  return row.str();
}

void add_api(Tables& tables, const std::string& name, const Json& api,
             std::map<std::string, std::string>& rows) {
  tables.apis << "    {" << quoted(name) << ", " << api.at("v").dump() << ", "
              << quoted(host_of(api.at("root").get<std::string>())) << ", " << tables.scope_count
              << ", " << api.at("scopes").size() << "},\n";
  for (const Json& scope : api.at("scopes")) {
    tables.scopes << "    " << quoted(full_scope(scope.get<std::string>())) << ",\n";
  }
  tables.scope_count += api.at("scopes").size();
  for (const auto& [method, facts] : api.at("m").items()) {
    const std::string full_name = name + "." + method;
    rows[full_name] = method_row(tables, tables.api_count, full_name,
                                 api.at("svc").get<std::string>(), facts);
  }
  ++tables.api_count;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: generate_google_apis IN.json OUT.inc\n");
    return 2;
  }
  std::ifstream in(argv[1]);
  const Json facts = Json::parse(in, nullptr, false);
  if (!facts.is_object()) {
    std::fprintf(stderr, "%s is not the table of facts\n", argv[1]);
    return 1;
  }
  Tables tables;
  std::map<std::string, std::string> rows;
  for (const auto& [name, api] : facts.items()) add_api(tables, name, api, rows);
  for (const auto& [name, row] : rows) tables.methods << row;
  std::ofstream out(argv[2]);
  out << "// Generated from config/google-apis.json by generate_google_apis. Not edited by hand.\n"
      << "constexpr ApiFacts kApis[] = {\n" << tables.apis.str() << "};\n"
      << "constexpr std::string_view kScopes[] = {\n" << tables.scopes.str() << "};\n"
      << "constexpr std::string_view kPathNames[] = {\n" << tables.names.str() << "};\n"
      << "constexpr QueryFacts kQueries[] = {\n" << tables.queries.str() << "};\n"
      << "constexpr std::uint8_t kScopeIndexes[] = {" << tables.scope_indexes.str() << "};\n"
      << "constexpr MethodFacts kMethods[] = {\n" << tables.methods.str() << "};\n";
  out.close();
  return out ? 0 : 1;
}
