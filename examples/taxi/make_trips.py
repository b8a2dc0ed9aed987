"""Makes trip records in the schema of New York's yellow taxis, for where the real ones cannot be downloaded.

    python make_trips.py --rows 1000000 --out trips.csv --out trips.parquet

The same seed and number of rows give the same trips.
"""

import argparse

import numpy as np
import pandas as pd


def trips(rows, seed):
    random = np.random.default_rng(seed)
    month = pd.Timestamp("2022-01-01")
    pickup = month + pd.to_timedelta(np.sort(random.integers(0, 31 * 86400, rows)), unit="s")
    distance = np.round(random.gamma(2.0, 1.6, rows), 2)
    minutes = np.maximum(1, distance * random.normal(4.0, 0.8, rows))
    passengers = random.choice([1.0, 2.0, 3.0, 4.0, np.nan], rows, p=[0.7, 0.15, 0.06, 0.04, 0.05])
    payment = random.choice([1, 2, 3, 4], rows, p=[0.75, 0.22, 0.02, 0.01])
    fare = np.round(2.5 + 2.5 * distance + 0.5 * minutes / 5, 2)
    extra = random.choice([0.0, 0.5, 1.0, 2.5], rows)
    tip = np.where(payment == 1, np.round(fare * random.uniform(0.1, 0.3, rows), 2), 0.0)
    tolls = np.where(random.random(rows) < 0.05, 6.55, 0.0)
    congestion = np.where(random.random(rows) < 0.9, 2.5, 0.0)
    airport = np.where(random.random(rows) < 0.06, 1.25, 0.0)
    return pd.DataFrame(
        {
            "VendorID": random.choice([1, 2], rows),
            "tpep_pickup_datetime": pickup,
            "tpep_dropoff_datetime": pickup + pd.to_timedelta((minutes * 60).astype("int64"), unit="s"),
            "passenger_count": passengers,
            "trip_distance": distance,
            "RatecodeID": random.choice([1.0, 2.0, 5.0], rows, p=[0.95, 0.04, 0.01]),
            "store_and_fwd_flag": random.choice(["N", "Y"], rows, p=[0.98, 0.02]),
            "PULocationID": random.integers(1, 266, rows),
            "DOLocationID": random.integers(1, 266, rows),
            "payment_type": payment,
            "fare_amount": fare,
            "extra": extra,
            "mta_tax": 0.5,
            "tip_amount": tip,
            "tolls_amount": tolls,
            "improvement_surcharge": 0.3,
            "total_amount": np.round(fare + extra + 0.5 + tip + tolls + 0.3 + congestion + airport, 2),
            "congestion_surcharge": congestion,
            "airport_fee": airport,
        }
    )


def main():
    parser = argparse.ArgumentParser(description="Makes trip records in the schema of New York's yellow taxis.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=2022)
    parser.add_argument("--out", action="append", required=True, help="a file that ends in .csv, .csv.gz or .parquet")
    arguments = parser.parse_args()
    made = trips(arguments.rows, arguments.seed)
    for name in arguments.out:
        if name.endswith(".parquet"):
            made.to_parquet(name, index=False, row_group_size=100_000)
        else:
            made.to_csv(name, index=False)
        print(f"{name}: {len(made)} trips, {made['total_amount'].sum():.2f} in all")


if __name__ == "__main__":
    main()
