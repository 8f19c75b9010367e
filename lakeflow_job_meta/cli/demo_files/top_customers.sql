INSERT INTO main.demo.etl_control VALUES (
  'top_customers',
  'sales',
  'sql',
  6,
  '{}',
  '{"catalog": "gold", "schema": "demo", "table": "top_customers"}',
  '{"task_type": "sql_query", "sql_task": {"warehouse_id": "local", "sql_query": "SELECT customer, sum(amount) AS total FROM silver.demo.orders GROUP BY customer ORDER BY total DESC LIMIT 3"}}',
  true
)
