// JSON from outside that one store or the other understands differently, or not at all.

#include <algorithm>

#include "sequential/storage/search.h"
#include "support/store_test.h"

namespace sequential::storage::test {
namespace {

class OddJson : public StoreTest {
 protected:
  std::vector<std::int64_t> with_text(const std::string& text) {
    RunQuery query;
    query.text = text;
    Answer<RunPage> answer;
    store_->search()->find_runs(query, TaskRunId{}, 100, 10'000, answer.done());
    std::vector<std::int64_t> ids;
    const auto page = answer.get();
    EXPECT_TRUE(page.has_value()) << (page.has_error() ? page.error().message : "");
    if (page.has_error()) return ids;
    for (const TaskRun& run : page.value().runs) ids.push_back(run.id.value);
    return ids;
  }
};
SEQUENTIAL_ON_EVERY_BACKEND(OddJson);

TEST_P(OddJson, KeysWithQuotesAndLimitsInBytesAreTheSameEverywhere) {
  std::string umlauts;
  for (int i = 0; i < 129; ++i) umlauts += "\xc3\xbc";  // 258 bytes
  Submission s = submission();
  s.tags = R"({"a\"b":12,"c\"d":true,"e\"f":{"g":1},"h\"i":"text","":"none",")" + umlauts +
           R"(":"long","k":")" + std::string(1'024, 'x') + R"("})";
  const Submitted run = store().submit(s).value();
  Answer<std::vector<RunTag>> answer;
  store_->search()->run_tags(run.run, answer.done());
  std::vector<std::string> tags;
  const std::vector<RunTag> stored = answer.get().value();
  for (const RunTag& tag : stored) {
    tags.push_back(tag.key + "=" + tag.value.substr(0, 8) + (tag.number ? " number" : ""));
  }
  EXPECT_EQ(tags, (std::vector<std::string>{"a\"b=12 number", "c\"d=true", "e\"f={\"g\":1}",
                                            "h\"i=text", "k=xxxxxxxx"}));
}

TEST_P(OddJson, AnErrorThatIsNestedTooDeepKeepsNobodyFromSearching) {
  const Running deep = start(), plain = start();
  const std::string error = R"({"message":"found","cause":)" + std::string(20'000, '[') +
                            std::string(20'000, ']') + "}";
  ASSERT_TRUE(store().commit_slice(end_of(deep.grant, SliceEnd::failed, error)).has_value());
  ASSERT_TRUE(
      store()
          .commit_slice(end_of(plain.grant, SliceEnd::failed, R"({"message":"found"})"))
          .has_value());
  const auto found = with_text("found");
  EXPECT_TRUE(std::count(found.begin(), found.end(), plain.run.value));
}

}  // namespace
}  // namespace sequential::storage::test
