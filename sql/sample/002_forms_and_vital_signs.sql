-- Visits in 2024 of the sample patients, with their blood pressures and pulses. A visit is known by its patient, name
-- and time.

INSERT INTO public.form (patient_id, name, encounter_date)
SELECT p.id, s.name, s.encounter_date::timestamptz
FROM (VALUES
  (1, 'MRN-001234', 'Annual Physical', '2024-01-10T09:00:00Z'),
  (2, 'MRN-001234', 'Follow-up Visit', '2024-04-15T10:30:00Z'),
  (3, 'MRN-005678', 'Routine Checkup', '2024-02-20T14:00:00Z'),
  (4, 'MRN-009012', 'Hypertension Management', '2024-03-05T11:15:00Z'),
  (5, 'MRN-009012', 'Cardiac Evaluation', '2024-05-22T08:45:00Z'),
  (6, 'MRN-003456', 'Diabetes Follow-up', '2024-03-18T13:30:00Z'),
  (7, 'MRN-007890', 'Sports Physical', '2024-06-30T16:00:00Z')
) AS s (position, mrn, name, encounter_date)
JOIN public.patient AS p ON p.identifier_system = 'https://hospital.example.com/mrn' AND p.identifier_value = s.mrn
WHERE NOT EXISTS (
  SELECT FROM public.form AS f
  WHERE f.patient_id = p.id AND f.name = s.name AND f.encounter_date = s.encounter_date::timestamptz
)
ORDER BY s.position;

INSERT INTO public.blood_pressure (
  form_id, patient_id, systolic_pressure, diastolic_pressure, measurement_time, position, location, comment
)
SELECT f.id, f.patient_id, s.systolic, s.diastolic, f.encounter_date + s.after::interval, s.position, s.location, s.comment
FROM (VALUES
  (1, 'MRN-001234', 'Annual Physical', '10 minutes', 120, 80, 'sitting', 'left_arm', NULL),
  (2, 'MRN-001234', 'Follow-up Visit', '10 minutes', 118, 78, 'sitting', 'left_arm', NULL),
  (3, 'MRN-005678', 'Routine Checkup', '10 minutes', 112, 72, 'sitting', 'right_arm', NULL),
  (4, 'MRN-009012', 'Hypertension Management', '10 minutes', 145, 92, 'sitting', 'left_arm', 'Elevated'),
  (5, 'MRN-009012', 'Hypertension Management', '20 minutes', 142, 90, 'standing', 'left_arm', 'Second reading'),
  (6, 'MRN-009012', 'Cardiac Evaluation', '10 minutes', 138, 88, 'lying', 'right_arm', NULL),
  (7, 'MRN-009012', 'Cardiac Evaluation', '20 minutes', 136, 86, 'sitting', 'right_arm', 'After five minutes of rest'),
  (8, 'MRN-003456', 'Diabetes Follow-up', '10 minutes', 130, 84, 'sitting', 'left_arm', NULL),
  (9, 'MRN-007890', 'Sports Physical', '10 minutes', 116, 74, 'sitting', 'right_arm', NULL)
) AS s (number, mrn, form, after, systolic, diastolic, position, location, comment)
JOIN public.patient AS p ON p.identifier_system = 'https://hospital.example.com/mrn' AND p.identifier_value = s.mrn
JOIN public.form AS f ON f.patient_id = p.id AND f.name = s.form AND f.encounter_date BETWEEN '2024-01-01Z' AND '2025-01-01Z'
WHERE NOT EXISTS (
  SELECT FROM public.blood_pressure AS b WHERE b.form_id = f.id AND b.measurement_time = f.encounter_date + s.after::interval
)
ORDER BY s.number;

INSERT INTO public.pulse (form_id, patient_id, rate, measurement_time, regularity, method, body_site, comment)
SELECT f.id, f.patient_id, s.rate, f.encounter_date + interval '15 minutes', s.regularity, s.method, s.body_site, s.comment
FROM (VALUES
  (1, 'MRN-001234', 'Annual Physical', 72, 'regular', 'palpation', 'radial', NULL),
  (2, 'MRN-001234', 'Follow-up Visit', 70, 'regular', 'palpation', 'radial', NULL),
  (3, 'MRN-005678', 'Routine Checkup', 68, 'regular', 'automatic', 'finger', NULL),
  (4, 'MRN-009012', 'Hypertension Management', 84, 'regular', 'palpation', 'carotid', NULL),
  (5, 'MRN-009012', 'Cardiac Evaluation', 88, 'irregular', 'auscultation', 'heart', 'Atrial fibrillation noted'),
  (6, 'MRN-003456', 'Diabetes Follow-up', 76, 'regular', 'automatic', 'finger', NULL),
  (7, 'MRN-007890', 'Sports Physical', 58, 'regular', 'palpation', 'radial', 'Athlete')
) AS s (number, mrn, form, rate, regularity, method, body_site, comment)
JOIN public.patient AS p ON p.identifier_system = 'https://hospital.example.com/mrn' AND p.identifier_value = s.mrn
JOIN public.form AS f ON f.patient_id = p.id AND f.name = s.form AND f.encounter_date BETWEEN '2024-01-01Z' AND '2025-01-01Z'
WHERE NOT EXISTS (
  SELECT FROM public.pulse AS r WHERE r.form_id = f.id AND r.measurement_time = f.encounter_date + interval '15 minutes'
)
ORDER BY s.number;
