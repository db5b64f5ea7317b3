// Cron expressions: what is taken, what is refused and with which words.
#include "schedules/cron.h"

#include <gtest/gtest.h>

#include <string>

namespace sequential::server {
namespace {

std::string refusal(const std::string& text) {
  const auto cron = Cron::parse(text);
  if (cron.has_value()) return "";
  EXPECT_EQ(cron.error().code, Errc::invalid_field);
  EXPECT_EQ(cron.error().field, "cron");
  return cron.error().message;
}

bool fits(const std::string& text, const Civil& at) { return Cron::parse(text).value().fits(at); }

TEST(Cron, FiveFieldsBeginWithTheMinuteAndSixWithTheSecond) {
  EXPECT_TRUE(fits("30 6 * * *", {2026, 11, 22, 6, 30, 0}));
  EXPECT_FALSE(fits("30 6 * * *", {2026, 11, 22, 6, 30, 1}));
  EXPECT_TRUE(fits("15 30 6 * * *", {2026, 11, 22, 6, 30, 15}));
  EXPECT_FALSE(fits("15 30 6 * * *", {2026, 11, 22, 6, 15, 30}));
}

TEST(Cron, TakesListsRangesStepsAndNames) {
  const std::string text = "0,30 8-18/2 1,15 JAN-mar,12 *";
  EXPECT_TRUE(fits(text, {2026, 2, 15, 10, 30, 0}));
  EXPECT_TRUE(fits(text, {2026, 12, 1, 18, 0, 0}));
  EXPECT_FALSE(fits(text, {2026, 4, 15, 10, 30, 0}));
  EXPECT_FALSE(fits(text, {2026, 2, 15, 9, 30, 0}));
  EXPECT_FALSE(fits(text, {2026, 2, 15, 10, 31, 0}));
  EXPECT_TRUE(fits("5/20 * * * *", {2026, 1, 1, 0, 45, 0}));
  EXPECT_FALSE(fits("5/20 * * * *", {2026, 1, 1, 0, 40, 0}));
}

TEST(Cron, SundayIsZeroAndSevenAndARangeMayEndWithIt) {
  const Civil sunday{2026, 11, 22, 0, 0, 0}, monday{2026, 11, 23, 0, 0, 0};
  for (const char* text :
       {"0 0 * * 0", "0 0 * * 7", "0 0 * * SUN", "0 0 * * 5-7", "0 0 * * FRI-SUN"}) {
    EXPECT_TRUE(fits(text, sunday)) << text;
    EXPECT_FALSE(fits(text, monday)) << text;
  }
  EXPECT_TRUE(fits("0 0 * * MON-FRI", monday));
  EXPECT_FALSE(fits("0 0 * * MON-FRI", sunday));
}

TEST(Cron, OfTwoRestrictedDayFieldsEitherIsEnough) {
  EXPECT_TRUE(fits("0 0 13 * FRI", {2026, 11, 13, 0, 0, 0}));
  EXPECT_TRUE(fits("0 0 13 * FRI", {2026, 11, 20, 0, 0, 0}));
  EXPECT_FALSE(fits("0 0 13 * FRI", {2026, 11, 21, 0, 0, 0}));
  // One that begins with * restricts both.
  EXPECT_TRUE(fits("0 0 */2 * FRI", {2026, 11, 13, 0, 0, 0}));
  EXPECT_FALSE(fits("0 0 */2 * FRI", {2026, 11, 20, 0, 0, 0}));
}

TEST(Cron, ShortFormsAreWhatTheySay) {
  EXPECT_TRUE(fits("@hourly", {2026, 5, 6, 7, 0, 0}));
  EXPECT_FALSE(fits("@daily", {2026, 5, 6, 7, 0, 0}));
  EXPECT_TRUE(fits("@weekly", {2026, 11, 22, 0, 0, 0}));
  EXPECT_TRUE(fits("@yearly", {2027, 1, 1, 0, 0, 0}));
  EXPECT_EQ(Cron::parse("@every 90s").value().every(), Millis{90'000});
  EXPECT_EQ(Cron::parse("@every 1h30m").value().every(), Millis{5'400'000});
}

TEST(Cron, SaysWhatIsWrongAndWhere) {
  const std::pair<const char*, const char*> wrong[] = {
      {"", "has 0 fields"},
      {"* * * *", "has 4 fields"},
      {"* * * * * * *", "has 7 fields"},
      {"61 * * * *", "the minute \"61\" is out of range: it goes from 0 to 59"},
      {"* 24 * * *", "the hour \"24\""},
      {"* * 0 * *", "the day of the month \"0\" is out of range: it goes from 1 to 31"},
      {"* * * FEV *", "the month \"FEV\" is not understood"},
      {"* * * * FRI#2", "(not L, W or #)"},
      {"* * L * *", "the day of the month \"L\" is not understood"},
      {"* * * * 5-2", "goes backwards"},
      {"1,,2 * * * *", "has an empty part"},
      {"*/0 * * * *", "has a step that must be a number from 1 to 59"},
      {"*/90 * * * *", "@every"},
      {"-5 * * * *", "the minute \"-5\" is not understood"},
      {"? * * * *", "the minute \"?\""},
      {"0 0 30 2 *", "never comes"},
      {"@reboot", "is not known; there are @hourly"},
      {"@every", "@every takes one length"},
      {"@every 0s", "@every takes one length"},
      {"@every 5", "@every takes one length"},
      {"@every 999999999d", "@every takes one length"},
      {"\x01 * * * *", "\\u0001"},
  };
  for (const auto& [text, why] : wrong) {
    EXPECT_NE(refusal(text).find(why), std::string::npos) << text << ": " << refusal(text);
  }
  EXPECT_NE(refusal(std::string(300, '1')), "");
}

TEST(Cron, TheNextTimeIsTheFirstThatFits) {
  const Cron leap = Cron::parse("0 12 29 2 *").value();
  EXPECT_EQ(leap.next({2026, 1, 1, 0, 0, 0}), (Civil{2028, 2, 29, 12, 0, 0}));
  EXPECT_EQ(leap.next({2096, 3, 1, 0, 0, 0}), (Civil{2104, 2, 29, 12, 0, 0}));
  const Cron year = Cron::parse("59 59 23 31 12 *").value();
  EXPECT_EQ(year.next({2026, 12, 31, 23, 59, 59}), (Civil{2026, 12, 31, 23, 59, 59}));
  EXPECT_EQ(Cron::parse("0 0 0 * * *").value().next({2026, 12, 31, 23, 59, 59}),
            (Civil{2027, 1, 1, 0, 0, 0}));
}

}  // namespace
}  // namespace sequential::server
