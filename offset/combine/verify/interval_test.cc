#include "offset/combine/verify/interval.h"

#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace unlearn {
namespace {

// long double carries 11 bits more: enough to see on which side of a double the real number lies.
bool Holds(Interval interval, long double truth) {
  return interval.lo <= truth && truth <= interval.hi;
}

TEST(IntervalTest, EveryOperationContainsTheRealNumber) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-40, 40);
  std::uniform_real_distribution<double> mantissa(-1, 1);
  for (int i = 0; i < 200000; ++i) {
    const double a = std::ldexp(mantissa(random), static_cast<int>(exponent(random)));
    const double b = std::ldexp(mantissa(random), static_cast<int>(exponent(random)));
    const double p = std::abs(a);
    const double q = std::abs(b);
    const Interval x = Interval::Point(a);
    const Interval y = Interval::Point(b);
    EXPECT_TRUE(Holds(x + y, static_cast<long double>(a) + b)) << a << " " << b;
    EXPECT_TRUE(Holds(x - y, static_cast<long double>(a) - b)) << a << " " << b;
    EXPECT_TRUE(Holds(x * y, static_cast<long double>(a) * b)) << a << " " << b;
    EXPECT_TRUE(Holds(x / Interval::Point(q), static_cast<long double>(a) / q)) << a << " " << q;
    EXPECT_TRUE(Holds(Log(Interval::Point(p)), std::log(static_cast<long double>(p)))) << p;
    const double share = std::abs(mantissa(random));
    const Interval exponent = Interval::Point(1) / (Interval::Point(0.1) + Interval::Point(q));
    EXPECT_TRUE(
        Holds(Pow(Interval::Point(share), exponent),
              std::pow(static_cast<long double>(share), 1 / (0.1 + static_cast<long double>(q)))))
        << share << " " << q;
    const double e = mantissa(random) * 300;
    EXPECT_TRUE(Holds(Exp(Interval::Point(e)), std::exp(static_cast<long double>(e)))) << e;
  }
}

TEST(IntervalTest, ResultsAreNoWiderThanTheirRounding) {
  const Interval third = Interval::Point(1) / Interval::Point(3);
  EXPECT_LT(third.lo, third.hi);
  EXPECT_EQ(std::nextafter(third.lo, 1), third.hi);
  EXPECT_LT(Exp(Interval::Point(1)).Width(), 5e-15);
}

TEST(IntervalTest, ProductsAndQuotientsOfIntervalsContainThoseOfTheirMembers) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int i = 0; i < 20000; ++i) {
    double a = uniform(random), b = uniform(random), c = uniform(random), d = uniform(random);
    const Interval x{std::min(a, b), std::max(a, b)};
    const Interval y{std::min(c, d), std::max(c, d)};
    const Interval z{std::abs(c), std::abs(c) + std::abs(d)};
    const double share = std::abs(uniform(random));
    const double in_x = x.lo + share * (x.hi - x.lo);
    const double in_y = y.hi - share * (y.hi - y.lo);
    const double in_z = z.lo + share * (z.hi - z.lo);
    EXPECT_TRUE(Holds(x * y, static_cast<long double>(in_x) * in_y));
    EXPECT_TRUE(Holds(x / z, static_cast<long double>(in_x) / in_z));
    EXPECT_TRUE(Holds(x - y, static_cast<long double>(in_x) - in_y));
  }
}

TEST(IntervalTest, ExactNumbersStayExact) {
  const Interval zero = Interval::Point(0);
  const Interval one = Interval::Point(1);
  EXPECT_EQ(Exp(zero).Width(), 0);
  EXPECT_EQ(Log(one).Width(), 0);
  EXPECT_EQ((one / one).Width(), 0);
  EXPECT_EQ((one * Interval::Point(0.3)).Width(), 0);
  EXPECT_EQ((zero + Interval::Point(0.3)).Width(), 0);
  EXPECT_EQ((zero / Interval::Point(0.3)).hi, 0);
  EXPECT_EQ(Exp(Interval::Point(-INFINITY)).hi, 0);
}

TEST(IntervalTest, OverflowAndUnderflowStaySound) {
  const double huge = std::numeric_limits<double>::max();
  const double tiny = std::numeric_limits<double>::min();
  const Interval sum = Interval::Point(huge) + Interval::Point(huge);
  EXPECT_EQ(sum.lo, huge);
  EXPECT_EQ(sum.hi, INFINITY);
  const Interval product = Interval::Point(tiny) * Interval::Point(tiny);
  EXPECT_EQ(product.lo, 0);
  EXPECT_GT(product.hi, 0);
  const Interval negative = Interval::Point(-tiny) * Interval::Point(tiny);
  EXPECT_LT(negative.lo, 0);
  EXPECT_GE(negative.hi, 0);
  const Interval quotient = Interval::Point(1) / Interval{0, 2};
  EXPECT_EQ(quotient.lo, 0.5);
  EXPECT_EQ(quotient.hi, INFINITY);
  EXPECT_GT(Exp(Interval::Point(-2000)).hi, 0);
  EXPECT_EQ(Exp(Interval::Point(2000)).hi, INFINITY);
  EXPECT_LT(Exp(Interval::Point(2000)).lo, INFINITY);
  EXPECT_EQ((Interval::Point(0) * Interval{0, INFINITY}).hi, 0);
}

}  // namespace
}  // namespace unlearn
