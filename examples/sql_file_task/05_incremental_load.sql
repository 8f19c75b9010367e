-- Brings new and changed customers into silver; a second run changes nothing.
CREATE SCHEMA IF NOT EXISTS silver.examples;

CREATE TABLE IF NOT EXISTS silver.examples.customers (
  customer_id BIGINT,
  name STRING,
  region STRING,
  updated_at TIMESTAMP
) USING DELTA;

MERGE INTO silver.examples.customers AS t
USING bronze.examples.customers AS s
ON t.customer_id = s.customer_id
WHEN MATCHED AND s.updated_at > t.updated_at THEN
  UPDATE SET name = s.name, region = s.region, updated_at = s.updated_at
WHEN NOT MATCHED THEN
  INSERT (customer_id, name, region, updated_at) VALUES (s.customer_id, s.name, s.region, s.updated_at);
