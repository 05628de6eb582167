-- Five patients that do not exist, with forms and vital signs, for demonstrations and tests. What is there already
-- stays as it is.

INSERT INTO public.patient (
  name_family, name_given, name_text, birth_date, gender, identifier_system, identifier_value,
  phone_number, email, address_line, address_city, address_state, address_postal_code, address_country
)
SELECT s.family, s.given, s.given || ' ' || s.family, s.birth_date::date, s.gender, 'https://hospital.example.com/mrn', s.mrn,
       s.phone, s.email, s.line, s.city, 'MA', s.postal_code, 'USA'
FROM (VALUES
  (1, 'Smith', 'John', '1990-01-15', 'male', 'MRN-001234', '+1-555-123-4567', 'john.smith@example.com', '123 Main Street', 'Boston', '02101'),
  (2, 'Johnson', 'Emily', '1985-06-22', 'female', 'MRN-005678', '+1-555-987-6543', 'emily.johnson@example.com', '456 Oak Avenue', 'Cambridge', '02139'),
  (3, 'Williams', 'Robert', '1955-11-03', 'male', 'MRN-009012', '+1-555-246-8101', 'robert.williams@example.com', '789 Pine Road', 'Somerville', '02144'),
  (4, 'Brown', 'Maria', '1972-03-28', 'female', 'MRN-003456', '+1-555-369-2580', 'maria.brown@example.com', '321 Elm Street', 'Brookline', '02445'),
  (5, 'Davis', 'James', '2000-09-14', 'male', 'MRN-007890', '+1-555-147-2589', 'james.davis@example.com', '654 Maple Drive', 'Newton', '02458')
) AS s (position, family, given, birth_date, gender, mrn, phone, email, line, city, postal_code)
WHERE NOT EXISTS (
  SELECT FROM public.patient AS p WHERE p.identifier_system = 'https://hospital.example.com/mrn' AND p.identifier_value = s.mrn
)
ORDER BY s.position;

INSERT INTO public.patient_other_identifiers (patient_id, identifier_system, identifier_value)
SELECT p.id, p.identifier_system, p.identifier_value
FROM public.patient AS p
WHERE p.identifier_system = 'https://hospital.example.com/mrn'
  AND p.identifier_value IN ('MRN-001234', 'MRN-005678', 'MRN-009012', 'MRN-003456', 'MRN-007890')
  AND NOT EXISTS (
    SELECT FROM public.patient_other_identifiers AS o
    WHERE o.patient_id = p.id AND o.identifier_system = p.identifier_system AND o.identifier_value = p.identifier_value
  )
ORDER BY p.id;
