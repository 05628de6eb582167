-- The health tables: patients, their identifiers, forms and vital signs. Existing tables and their data stay as they
-- are.

CREATE TABLE IF NOT EXISTS public.patient (
  id serial PRIMARY KEY,
  active boolean NOT NULL DEFAULT true,
  birth_date date,
  deceased boolean NOT NULL DEFAULT false,
  name_family text,
  name_given text,
  name_text text,
  identifier_value text,
  identifier_system text,
  phone_number text,
  email text,
  address_line text,
  address_city text,
  address_state text,
  address_postal_code text,
  address_country text,
  gender text,
  created_at timestamptz NOT NULL DEFAULT current_timestamp,
  updated_at timestamptz NOT NULL DEFAULT current_timestamp
);

CREATE TABLE IF NOT EXISTS public.patient_other_identifiers (
  id serial PRIMARY KEY,
  patient_id integer NOT NULL REFERENCES public.patient (id),
  identifier_system text,
  identifier_value text
);

CREATE TABLE IF NOT EXISTS public.form (
  id serial PRIMARY KEY,
  patient_id integer NOT NULL REFERENCES public.patient (id),
  name text,
  encounter_date timestamptz NOT NULL DEFAULT current_timestamp,
  created_at timestamptz NOT NULL DEFAULT current_timestamp,
  updated_at timestamptz NOT NULL DEFAULT current_timestamp
);

CREATE TABLE IF NOT EXISTS public.blood_pressure (
  id serial PRIMARY KEY,
  form_id integer REFERENCES public.form (id),
  patient_id integer NOT NULL REFERENCES public.patient (id),
  systolic_pressure integer,
  diastolic_pressure integer,
  measurement_time timestamptz NOT NULL DEFAULT current_timestamp,
  position text,
  location text,
  comment text,
  created_at timestamptz NOT NULL DEFAULT current_timestamp,
  updated_at timestamptz NOT NULL DEFAULT current_timestamp
);

CREATE TABLE IF NOT EXISTS public.pulse (
  id serial PRIMARY KEY,
  form_id integer REFERENCES public.form (id),
  patient_id integer NOT NULL REFERENCES public.patient (id),
  rate integer,
  measurement_time timestamptz NOT NULL DEFAULT current_timestamp,
  regularity text,
  method text,
  body_site text,
  comment text,
  created_at timestamptz NOT NULL DEFAULT current_timestamp,
  updated_at timestamptz NOT NULL DEFAULT current_timestamp
);

-- The event triggers read a patient's other identifiers at each change; the rest keeps a patient's DELETE from reading
-- whole tables.
CREATE INDEX IF NOT EXISTS patient_other_identifiers_patient_id_idx ON public.patient_other_identifiers (patient_id);
CREATE INDEX IF NOT EXISTS form_patient_id_idx ON public.form (patient_id);
CREATE INDEX IF NOT EXISTS blood_pressure_patient_id_idx ON public.blood_pressure (patient_id);
CREATE INDEX IF NOT EXISTS blood_pressure_form_id_idx ON public.blood_pressure (form_id);
CREATE INDEX IF NOT EXISTS pulse_patient_id_idx ON public.pulse (patient_id);
CREATE INDEX IF NOT EXISTS pulse_form_id_idx ON public.pulse (form_id);

-- Two patients with one primary identifier would be one resource on the FHIR server. Data that breaks the rule is not
-- ours to mend: it is reported, and the connector dead-letters the second patient. (No values in the message: they
-- identify people.)
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_constraint
             WHERE conrelid = 'public.patient'::regclass AND conname = 'patient_identifier_key') THEN
    RETURN;
  END IF;
  ALTER TABLE public.patient ADD CONSTRAINT patient_identifier_key UNIQUE (identifier_system, identifier_value);
EXCEPTION
  WHEN unique_violation THEN
    RAISE WARNING 'public.patient holds the same identifier more than once, so it stays without the constraint '
      'patient_identifier_key. Only one patient of each such group can reach the FHIR server. Find them with: '
      'SELECT identifier_system, identifier_value, array_agg(id) FROM public.patient '
      'WHERE identifier_value IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1; then run: '
      'ALTER TABLE public.patient ADD CONSTRAINT patient_identifier_key UNIQUE (identifier_system, identifier_value);';
  WHEN OTHERS THEN
    RAISE WARNING 'The constraint patient_identifier_key could not be added to public.patient (SQLSTATE %: %). '
      'Have its owner run: '
      'ALTER TABLE public.patient ADD CONSTRAINT patient_identifier_key UNIQUE (identifier_system, identifier_value);',
      SQLSTATE, SQLERRM;
END
$$;

DO $$
DECLARE
  table_name text;
BEGIN
  IF to_regprocedure('public.update_updated_at_column()') IS NULL THEN
    CREATE FUNCTION public.update_updated_at_column() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
    BEGIN
      NEW.updated_at := current_timestamp;
      RETURN NEW;
    END
    $function$;
  END IF;
  FOREACH table_name IN ARRAY ARRAY['patient', 'form', 'blood_pressure', 'pulse'] LOOP
    -- By function, not by name: an existing schema may have given its trigger another name.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger
                   WHERE tgrelid = format('public.%I', table_name)::regclass
                     AND tgfoid = 'public.update_updated_at_column()'::regprocedure) THEN
      EXECUTE format('CREATE TRIGGER update_%1$s_updated_at BEFORE UPDATE ON public.%1$I '
                     'FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column()', table_name);
    END IF;
  END LOOP;
END
$$;
