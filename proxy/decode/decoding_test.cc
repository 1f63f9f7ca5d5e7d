#include "proxy/decode/decoding.h"

#include "gtest/gtest.h"

namespace unlearn {
namespace {

UpstreamInfo Model(int32_t top, bool scores_drafts, bool samples = false) {
  UpstreamInfo info;
  info.kind = "fake";
  info.top = top;
  info.scores_drafts = scores_drafts;
  info.samples = samples;
  return info;
}

TEST(DecodingTest, AutoTakesWhatTheServerCanDo) {
  EXPECT_EQ(*ChooseDecoding(Decoding::kAuto, Model(0, false)), Decoding::kLockstep);
  EXPECT_EQ(*ChooseDecoding(Decoding::kAuto, Model(0, true)), Decoding::kDraftAndVerify);
  EXPECT_EQ(*ChooseDecoding(Decoding::kAuto, Model(20, false)), Decoding::kTopK);
  EXPECT_EQ(*ChooseDecoding(Decoding::kAuto, Model(20, false, true)), Decoding::kStreamAndVerify);
}

TEST(DecodingTest, WhatIsAskedForIsDoneOrRefused) {
  EXPECT_EQ(*ChooseDecoding(Decoding::kLockstep, Model(0, true)), Decoding::kLockstep);
  EXPECT_EQ(*ChooseDecoding(Decoding::kTopK, Model(20, false)), Decoding::kTopK);
  EXPECT_EQ(*ChooseDecoding(Decoding::kTopK, Model(20, false, true)), Decoding::kTopK);
  EXPECT_EQ(*ChooseDecoding(Decoding::kStreamAndVerify, Model(20, false, true)),
            Decoding::kStreamAndVerify);
  const auto refused = absl::StatusCode::kUnimplemented;
  EXPECT_EQ(ChooseDecoding(Decoding::kLockstep, Model(20, false)).status().code(), refused);
  EXPECT_EQ(ChooseDecoding(Decoding::kDraftAndVerify, Model(0, false)).status().code(), refused);
  EXPECT_EQ(ChooseDecoding(Decoding::kDraftAndVerify, Model(20, true)).status().code(), refused);
  EXPECT_EQ(ChooseDecoding(Decoding::kTopK, Model(0, true)).status().code(), refused);
  EXPECT_EQ(ChooseDecoding(Decoding::kStreamAndVerify, Model(0, true, true)).status().code(),
            refused);
  const absl::Status stream = ChooseDecoding(Decoding::kStreamAndVerify, Model(20, true)).status();
  EXPECT_EQ(stream.code(), refused);
  EXPECT_EQ(stream.message(),
            "M's server (fake) cannot be used for stream-and-verify: it draws no tokens by itself; "
            "leave the field decoding out");
}

}  // namespace
}  // namespace unlearn
