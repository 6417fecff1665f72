-- The variants that a training tried in search of a less discriminatory model: what `candor train risk --alternatives`
-- writes beside the model, as an array of the engine's `Variant`.
alter table risk_models add column alternatives jsonb;
