#ifndef OFFSET_COMBINE_VERIFY_INTERVAL_H_
#define OFFSET_COMBINE_VERIFY_INTERVAL_H_

#include <algorithm>
#include <cmath>
#include <limits>

namespace unlearn {

// A closed interval of reals that certainly contains a number which is not known exactly. Ends may
// be infinite; the numbers themselves never are, save that a log may be -inf.
//
// Sound in floating point: every operation rounds its lower end down and its upper end up.
// + - * / find the sign of their own rounding error (two-sum, fused multiply-add) and step to the
// neighbouring double only when the result was not exact, so exact numbers stay exact: that is what
// makes a delta of zeros give ratios of exactly 1. exp, log and pow of the C library err by less
// than one unit in the last place; they are widened by two, but for the exact cases named below.
struct Interval {
  double lo = 0;
  double hi = 0;

  static Interval Point(double x) { return {x, x}; }
  // [-radius, radius].
  static Interval Around0(double radius) { return {-radius, radius}; }

  bool Contains(double x) const { return lo <= x && x <= hi; }
  double Width() const { return hi - lo; }
};

namespace interval_internal {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

inline double Below(double x) { return std::nextafter(x, -kInfinity); }
inline double Above(double x) { return std::nextafter(x, kInfinity); }

// `rounded` is a nearest double to a real number; `error` has the sign of real - rounded.
inline double Down(double rounded, double error) { return error < 0 ? Below(rounded) : rounded; }
inline double Up(double rounded, double error) { return error > 0 ? Above(rounded) : rounded; }

inline double AddError(double a, double b, double sum) {
  const double part = sum - a;
  return (a - (sum - part)) + (b - part);
}

inline double AddDown(double a, double b) {
  const double sum = a + b;
  if (std::isfinite(sum)) return Down(sum, AddError(a, b, sum));
  if (std::isnan(sum)) return -kInfinity;
  if (sum > 0 && std::isfinite(a) && std::isfinite(b)) return std::numeric_limits<double>::max();
  return sum;
}

inline double AddUp(double a, double b) { return -AddDown(-a, -b); }

// The fused error of a product is exact only while it does not underflow itself.
inline constexpr double kSmallestProduct = 1e-280;

inline double MultiplyDown(double a, double b) {
  if (a == 0 || b == 0) return 0;  // an infinite end stands for finite numbers without a bound
  const double product = a * b;
  if (std::isinf(product)) {
    if (product > 0 && std::isfinite(a) && std::isfinite(b)) {
      return std::numeric_limits<double>::max();
    }
    return product;
  }
  if (std::abs(product) < kSmallestProduct) {
    return product < 0 || (a < 0) != (b < 0) ? Below(product) : std::max(0.0, Below(product));
  }
  return Down(product, std::fma(a, b, -product));
}

inline double MultiplyUp(double a, double b) { return -MultiplyDown(-a, b); }

// a >= 0, b >= 0. The lower end of a/b, 0/0 counted as 0; a/0 without bound.
inline double DivideDown(double a, double b) {
  if (a == 0 || std::isinf(b)) return 0;
  if (b == 0 || std::isinf(a)) return std::numeric_limits<double>::max();
  const double quotient = a / b;
  if (std::isinf(quotient)) return std::numeric_limits<double>::max();
  if (quotient < kSmallestProduct || a < kSmallestProduct) {
    return std::max(0.0, Below(quotient));
  }
  return Down(quotient, std::fma(-quotient, b, a));
}

inline double DivideUp(double a, double b) {
  if (b == 0 || std::isinf(a)) return kInfinity;
  if (a == 0) return 0;
  const double quotient = a / b;
  if (std::isinf(quotient)) return kInfinity;
  if (quotient < kSmallestProduct || a < kSmallestProduct) return Above(quotient);
  return Up(quotient, std::fma(-quotient, b, a));
}

inline double LibraryDown(double x) { return Below(Below(x)); }
inline double LibraryUp(double x) { return Above(Above(x)); }

}  // namespace interval_internal

inline Interval operator+(Interval a, Interval b) {
  return {interval_internal::AddDown(a.lo, b.lo), interval_internal::AddUp(a.hi, b.hi)};
}

inline Interval operator-(Interval a) { return {-a.hi, -a.lo}; }

inline Interval operator-(Interval a, Interval b) { return a + -b; }

inline Interval& operator+=(Interval& a, Interval b) { return a = a + b; }

inline Interval operator*(Interval a, Interval b) {
  using interval_internal::MultiplyDown;
  using interval_internal::MultiplyUp;
  if (a.lo >= 0 && b.lo >= 0) return {MultiplyDown(a.lo, b.lo), MultiplyUp(a.hi, b.hi)};
  return {std::min({MultiplyDown(a.lo, b.lo), MultiplyDown(a.lo, b.hi), MultiplyDown(a.hi, b.lo),
                    MultiplyDown(a.hi, b.hi)}),
          std::max({MultiplyUp(a.lo, b.lo), MultiplyUp(a.lo, b.hi), MultiplyUp(a.hi, b.lo),
                    MultiplyUp(a.hi, b.hi)})};
}

// b >= 0; where b may be 0 the result is without bound on that side.
inline Interval operator/(Interval a, Interval b) {
  using interval_internal::DivideDown;
  using interval_internal::DivideUp;
  return {a.lo >= 0 ? DivideDown(a.lo, b.hi) : -DivideUp(-a.lo, b.lo),
          a.hi >= 0 ? DivideUp(a.hi, b.lo) : -DivideDown(-a.hi, b.hi)};
}

// exp(0) = 1 and exp(-inf) = 0 exactly.
inline Interval Exp(Interval a) {
  using interval_internal::kInfinity;
  const auto exact = [](double x) { return x == 0 || x == -kInfinity; };
  const double lo = std::exp(a.lo);
  const double hi = std::exp(a.hi);
  return {exact(a.lo) ? lo : std::max(0.0, interval_internal::LibraryDown(lo)),
          exact(a.hi) ? hi : interval_internal::LibraryUp(hi)};
}

// a >= 0. log(1) = 0 and log(0) = -inf exactly.
inline Interval Log(Interval a) {
  const auto exact = [](double x) { return x == 1 || x == 0; };
  const double lo = std::log(a.lo);
  const double hi = std::log(a.hi);
  return {exact(a.lo) ? lo : interval_internal::LibraryDown(lo),
          exact(a.hi) ? hi : interval_internal::LibraryUp(hi)};
}

// base^exponent for bases within [0, 1] and exponents above 0: falling in the exponent. Powers of 0
// and 1, and the first power, are exact.
inline Interval Pow(Interval base, Interval exponent) {
  const auto power = [](double x, double y, double (*widen)(double)) {
    if (x == 0 || x == 1 || y == 1) return x;
    return std::min(1.0, std::max(0.0, widen(std::pow(x, y))));
  };
  return {power(base.lo, exponent.hi, interval_internal::LibraryDown),
          power(base.hi, exponent.lo, interval_internal::LibraryUp)};
}

inline Interval Max(Interval a, Interval b) { return {std::max(a.lo, b.lo), std::max(a.hi, b.hi)}; }

inline Interval Min(Interval a, Interval b) { return {std::min(a.lo, b.lo), std::min(a.hi, b.hi)}; }

// What is in both: two bounds on one number.
inline Interval Intersect(Interval a, Interval b) {
  return {std::max(a.lo, b.lo), std::min(a.hi, b.hi)};
}

}  // namespace unlearn

#endif  // OFFSET_COMBINE_VERIFY_INTERVAL_H_
