// 2,000 calls a second for five seconds in the JSON of Connect, each of which must get a coupon.
import http from "k6/http";
import { check } from "k6";
import { Counter } from "k6/metrics";

const issued = new Counter("issued");
const url = `http://${__ENV.ROUTER}/couponpb.CouponService/IssueCoupon`;
const body = JSON.stringify({ campaignId: __ENV.CAMPAIGN });
const params = { headers: { "Content-Type": "application/json" }, timeout: "60s" };

export const options = {
  scenarios: {
    rush: {
      executor: "constant-arrival-rate",
      rate: 2000,
      timeUnit: "1s",
      duration: "5s",
      preAllocatedVUs: 100,
      maxVUs: 400,
      gracefulStop: "60s",
    },
  },
  thresholds: { checks: ["rate==1"] },
};

export default function () {
  const answer = http.post(url, body, params);
  if (check(answer, { "a coupon": (answer) => answer.status === 200 && answer.json("couponCode").length === 10 })) {
    issued.add(1);
  }
}
