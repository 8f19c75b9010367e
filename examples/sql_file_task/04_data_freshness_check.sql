-- Fails the task when nothing was loaded for more than max_hours.
SELECT assert_true(
  max(loaded_at) >= current_timestamp() - make_interval(0, 0, 0, 0, CAST(:max_hours AS INT)),
  'bronze.examples.orders is stale'
)
FROM bronze.examples.orders;
