"""Reads trip records from a CSV or Parquet file, or from where a URL leads, into a table of PostgreSQL.

    python ingest.py --user=root --password=root --host=db --port=5432 --db=ny_taxi --table=trips --source=trips.csv

Reads in chunks, so that a file may be larger than memory, and commits each. A row is known by its source and its
number in it; a run that is repeated, or that goes on where an earlier one was stopped, adds what is missing and doubles
nothing.
"""

import argparse
import io
import os
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import pandas as pd
import pyarrow.parquet as parquet
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

# Whole numbers with gaps, which pandas reads as floating point.
WHOLE = ["VendorID", "passenger_count", "RatecodeID", "PULocationID", "DOLocationID", "payment_type", "trip_type"]
TIMES = ["tpep_pickup_datetime", "tpep_dropoff_datetime", "lpep_pickup_datetime", "lpep_dropoff_datetime"]


def arguments():
    parser = argparse.ArgumentParser(description="Reads trip records into a table of PostgreSQL.")
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", default=os.environ.get("PGPASSWORD"), help="or in PGPASSWORD")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=5432)
    parser.add_argument("--db", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--source", required=True, help="a file or URL that ends in .csv, .csv.gz or .parquet")
    parser.add_argument("--chunk", type=int, default=100_000, help="rows that are read at once")
    parser.add_argument("--wait", type=int, default=60, help="seconds that the database may take to come up")
    return parser.parse_args()


def connect(given):
    url = URL.create("postgresql+psycopg2", given.user, given.password, given.host, given.port, given.db)
    engine = create_engine(url)
    deadline = time.monotonic() + given.wait
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            return engine
        except OperationalError as error:
            # A wrong password does not become right by waiting.
            if "authentication failed" in str(error) or time.monotonic() > deadline:
                sys.exit(f"ingest: cannot connect to {given.host}:{given.port}/{given.db}: {error.orig}")
            time.sleep(0.5)


def local_copy(source, directory):
    """Returns a path for a source, which is fetched if it is a URL."""
    parts = urllib.parse.urlparse(source)
    if parts.scheme not in ("http", "https"):
        if not os.path.exists(source):
            sys.exit(f"ingest: there is no file '{source}': give its path inside the container, or a URL")
        return source
    path = os.path.join(directory, os.path.basename(parts.path))
    print(f"fetching {source}", flush=True)
    urllib.request.urlretrieve(source, path)
    return path


def chunks(path, size):
    """Yields (rows so far, rows in all if known, chunk)."""
    if path.endswith(".parquet"):
        file = parquet.ParquetFile(path)
        done = 0
        for batch in file.iter_batches(batch_size=size):
            frame = batch.to_pandas()
            yield done, file.metadata.num_rows, frame
            done += len(frame)
        return
    header = pd.read_csv(path, nrows=0).columns
    times = [column for column in TIMES if column in header]
    done = 0
    for frame in pd.read_csv(path, chunksize=size, parse_dates=times, low_memory=False):
        yield done, None, frame
        done += len(frame)


def make_table(engine, table, frame):
    """Makes the table in the shape of a chunk, if it is not there."""
    name = engine.dialect.identifier_preparer.quote(table)
    with engine.begin() as connection:
        frame.head(0).to_sql(table, connection, if_exists="append", index=False)
        connection.execute(text(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS source text"))
        connection.execute(text(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS source_row bigint"))
        connection.execute(
            text(f"CREATE UNIQUE INDEX IF NOT EXISTS {table}_by_source ON {name} (source, source_row)")
        )
    return name


def write(engine, name, frame):
    """Writes a chunk in one transaction and returns how many rows were new."""
    quote = engine.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column) for column in frame.columns)
    lines = io.StringIO()
    frame.to_csv(lines, index=False, header=False)
    lines.seek(0)
    connection = engine.raw_connection()
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TEMPORARY TABLE chunk (LIKE {name}) ON COMMIT DROP")
            cursor.copy_expert(f"COPY chunk ({columns}) FROM STDIN WITH (FORMAT csv)", lines)
            cursor.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM chunk ON CONFLICT DO NOTHING")
            new = cursor.rowcount
        connection.commit()
        return new
    except BaseException:
        connection.rollback()
        raise
    finally:
        connection.close()


def main():
    given = arguments()
    engine = connect(given)
    source = os.path.basename(urllib.parse.urlparse(given.source).path)
    begun = time.monotonic()
    read = added = 0
    with tempfile.TemporaryDirectory() as directory:
        name = None
        for done, total, frame in chunks(local_copy(given.source, directory), given.chunk):
            for column in frame.columns.intersection(WHOLE):
                frame[column] = frame[column].astype("Int64")
            name = name or make_table(engine, given.table, frame)
            frame["source"] = source
            frame["source_row"] = range(done, done + len(frame))
            added += write(engine, name, frame)
            read = done + len(frame)
            share = f" of {total}" if total else ""
            print(f"{read}{share} rows read, {added} added, {time.monotonic() - begun:.1f} s", flush=True)
    print(f"job finished successfully: {added} rows added to {given.table}, {read - added} were there already")


if __name__ == "__main__":
    main()
